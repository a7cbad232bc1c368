#!/bin/sh
# Firewall policy around FS01, for a Linux router in front of it; made by oldguard.
#
#   sh FILE                               loads it, IPv4 and IPv6; again replaces it, other rules stay
#   iptables -nvL oldguard_fs01_to        shows what was met, and so for oldguard_fs01_from and ip6tables
#   iptables -D FORWARD -j oldguard_fs01  takes it out, and so for INPUT, OUTPUT and ip6tables
#   netfilter-persistent save             keeps it for the next start, on Debian and its kin
#
# Its chain comes first: rules that were there before no longer see the machine's traffic.
# Traffic is the machine's if it goes through eth1, whatever its address.
# Conversations from before loading go on until conntrack -D -s ADDRESS and -D -d ADDRESS end them.
# On a bridge it sees packets only with br_netfilter, and net.bridge.bridge-nf-call-iptables set.
set -eu

iptables-restore --wait 10 --noflush <<'OLDGUARD'
*filter
:oldguard_fs01 - [0:0]
:oldguard_fs01_to - [0:0]
:oldguard_fs01_from - [0:0]
:oldguard_fs01_own_in - [0:0]
:oldguard_fs01_own_out - [0:0]
:oldguard_fs01_5 - [0:0]
-A oldguard_fs01 -o eth1 -g oldguard_fs01_to
-A oldguard_fs01 -i eth1 -g oldguard_fs01_from
-A oldguard_fs01_to -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A oldguard_fs01_to -m conntrack --ctstate INVALID -j DROP
# Behind the interface, and not with an address of the machine.
-A oldguard_fs01_to -j oldguard_fs01_own_in
-A oldguard_fs01_own_in -d 192.0.2.10 -j RETURN
-A oldguard_fs01_own_in -d 192.0.2.11 -j RETURN
-A oldguard_fs01_own_in -m limit --limit 10/min --limit-burst 20 -j LOG --log-prefix "oldguard_fs01 spoof: "
-A oldguard_fs01_own_in -j DROP
# in-smb: file shares, seen 3141 times in 14 days
-A oldguard_fs01_to -p tcp -m multiport --dports 139,445 -s 198.51.100.0/24 -m comment --comment "in-smb: file shares, seen 3141 times in 14 days" -j ACCEPT
-A oldguard_fs01_to -p tcp -m multiport --dports 139,445 -s 203.0.113.1/32 -m comment --comment "in-smb: file shares, seen 3141 times in 14 days" -j ACCEPT
-A oldguard_fs01_to -p icmp -m icmp --icmp-type 8 -s 198.51.100.5/32 -m comment --comment "in-ping" -j ACCEPT
-A oldguard_fs01_to -p icmp -m icmp --icmp-type 3/4 -s 198.51.100.5/32 -m comment --comment "in-ping" -j ACCEPT
# in-odd: ' -j ACCEPT -A FORWARD -j ACCEPT /
# for C:/old 'app'/x.exe; the firewall does not see programs
-A oldguard_fs01_to -p udp -m udp --dport 4711 -m comment --comment "in-odd: ' -j ACCEPT -A FORWARD -j ACCEPT /" -j ACCEPT
-A oldguard_fs01_to -m limit --limit 10/min --limit-burst 20 -j LOG --log-prefix "oldguard_fs01 in: "
-A oldguard_fs01_to -j DROP
-A oldguard_fs01_from -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A oldguard_fs01_from -m conntrack --ctstate INVALID -j DROP
# Behind the interface, and not with an address of the machine.
-A oldguard_fs01_from -j oldguard_fs01_own_out
-A oldguard_fs01_own_out -s 192.0.2.10 -j RETURN
-A oldguard_fs01_own_out -s 192.0.2.11 -j RETURN
-A oldguard_fs01_own_out -m limit --limit 10/min --limit-burst 20 -j LOG --log-prefix "oldguard_fs01 spoof: "
-A oldguard_fs01_own_out -j DROP
-A oldguard_fs01_from -p udp -m udp --dport 53 -d 198.51.100.53/32 -m comment --comment "out-dns" -j ACCEPT
-A oldguard_fs01_5 -p 6 -j RETURN
-A oldguard_fs01_5 -p 17 -j RETURN
-A oldguard_fs01_5 -j DROP
-A oldguard_fs01_from -m comment --comment "out-rest" -j oldguard_fs01_5
-A oldguard_fs01_from -m limit --limit 10/min --limit-burst 20 -j LOG --log-prefix "oldguard_fs01 out: "
-A oldguard_fs01_from -j DROP
COMMIT
OLDGUARD
iptables -w 10 -C FORWARD -j oldguard_fs01 2>/dev/null || iptables -w 10 -I FORWARD 1 -j oldguard_fs01
iptables -w 10 -C INPUT -j oldguard_fs01 2>/dev/null || iptables -w 10 -I INPUT 1 -j oldguard_fs01
iptables -w 10 -C OUTPUT -j oldguard_fs01 2>/dev/null || iptables -w 10 -I OUTPUT 1 -j oldguard_fs01

ip6tables-restore --wait 10 --noflush <<'OLDGUARD'
*filter
:oldguard_fs01 - [0:0]
:oldguard_fs01_to - [0:0]
:oldguard_fs01_from - [0:0]
:oldguard_fs01_own_in - [0:0]
:oldguard_fs01_own_out - [0:0]
:oldguard_fs01_5 - [0:0]
-A oldguard_fs01 -o eth1 -g oldguard_fs01_to
-A oldguard_fs01 -i eth1 -g oldguard_fs01_from
-A oldguard_fs01_to -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A oldguard_fs01_to -m conntrack --ctstate INVALID -j DROP
# Without neighbour discovery there is no IPv6 on the link; no router passes it on.
-A oldguard_fs01_to -p ipv6-icmp -m icmp6 --icmpv6-type 134 -m hl --hl-eq 255 -j ACCEPT
-A oldguard_fs01_to -p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j ACCEPT
-A oldguard_fs01_to -p ipv6-icmp -m icmp6 --icmpv6-type 136 -m hl --hl-eq 255 -j ACCEPT
# Behind the interface, and not with an address of the machine.
-A oldguard_fs01_to -j oldguard_fs01_own_in
-A oldguard_fs01_own_in -d 2001:db8::10 -j RETURN
-A oldguard_fs01_own_in -m limit --limit 10/min --limit-burst 20 -j LOG --log-prefix "oldguard_fs01 spoof: "
-A oldguard_fs01_own_in -j DROP
-A oldguard_fs01_to -p ipv6-icmp -m icmp6 --icmpv6-type 128 -m comment --comment "in-ping6" -j ACCEPT
# in-odd: ' -j ACCEPT -A FORWARD -j ACCEPT /
# for C:/old 'app'/x.exe; the firewall does not see programs
-A oldguard_fs01_to -p udp -m udp --dport 4711 -m comment --comment "in-odd: ' -j ACCEPT -A FORWARD -j ACCEPT /" -j ACCEPT
-A oldguard_fs01_to -m limit --limit 10/min --limit-burst 20 -j LOG --log-prefix "oldguard_fs01 in: "
-A oldguard_fs01_to -j DROP
-A oldguard_fs01_from -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A oldguard_fs01_from -m conntrack --ctstate INVALID -j DROP
# Without neighbour discovery there is no IPv6 on the link; no router passes it on.
-A oldguard_fs01_from -p ipv6-icmp -m icmp6 --icmpv6-type 133 -m hl --hl-eq 255 -j ACCEPT
-A oldguard_fs01_from -p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j ACCEPT
-A oldguard_fs01_from -p ipv6-icmp -m icmp6 --icmpv6-type 136 -m hl --hl-eq 255 -j ACCEPT
# Behind the interface, and not with an address of the machine.
-A oldguard_fs01_from -j oldguard_fs01_own_out
-A oldguard_fs01_own_out -s 2001:db8::10 -j RETURN
-A oldguard_fs01_own_out -m limit --limit 10/min --limit-burst 20 -j LOG --log-prefix "oldguard_fs01 spoof: "
-A oldguard_fs01_own_out -j DROP
-A oldguard_fs01_5 -p 6 -j RETURN
-A oldguard_fs01_5 -p 17 -j RETURN
-A oldguard_fs01_5 -j DROP
-A oldguard_fs01_from -m comment --comment "out-rest" -j oldguard_fs01_5
-A oldguard_fs01_from -m limit --limit 10/min --limit-burst 20 -j LOG --log-prefix "oldguard_fs01 out: "
-A oldguard_fs01_from -j DROP
COMMIT
OLDGUARD
ip6tables -w 10 -C FORWARD -j oldguard_fs01 2>/dev/null || ip6tables -w 10 -I FORWARD 1 -j oldguard_fs01
ip6tables -w 10 -C INPUT -j oldguard_fs01 2>/dev/null || ip6tables -w 10 -I INPUT 1 -j oldguard_fs01
ip6tables -w 10 -C OUTPUT -j oldguard_fs01 2>/dev/null || ip6tables -w 10 -I OUTPUT 1 -j oldguard_fs01
