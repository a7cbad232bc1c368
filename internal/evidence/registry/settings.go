package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/firewall"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/winreg"
	"github.com/oldguard/oldguard/winver"
)

// setting is a value that shows how the machine is set up.
type setting struct {
	id, key, value string
}

// ofSystem are the settings below the control set. The numbers mean what Microsoft
// documents for each name; what holds where a value is not set differs by release.
var ofSystem = []setting{
	{"smb1-server", `Services\LanmanServer\Parameters`, "SMB1"}, // https://learn.microsoft.com/windows-server/storage/file-server/troubleshoot/detect-enable-and-disable-smbv1-v2-v3
	{"smb2-server", `Services\LanmanServer\Parameters`, "SMB2"},
	{"smb1-client-start", `Services\mrxsmb10`, "Start"},
	{"smb-client-depends", `Services\LanmanWorkstation`, "DependOnService"},
	{"smb-server-signing-required", `Services\LanmanServer\Parameters`, "RequireSecuritySignature"},
	{"smb-server-signing-offered", `Services\LanmanServer\Parameters`, "EnableSecuritySignature"},
	{"smb-client-signing-required", `Services\LanmanWorkstation\Parameters`, "RequireSecuritySignature"},
	{"null-session-restricted", `Services\LanmanServer\Parameters`, "RestrictNullSessAccess"},
	{"null-session-pipes", `Services\LanmanServer\Parameters`, "NullSessionPipes"},
	{"null-session-shares", `Services\LanmanServer\Parameters`, "NullSessionShares"},
	{"anonymous-restricted", `Control\Lsa`, "RestrictAnonymous"},
	{"anonymous-sam-restricted", `Control\Lsa`, "RestrictAnonymousSAM"},
	{"everyone-includes-anonymous", `Control\Lsa`, "EveryoneIncludesAnonymous"},
	{"lm-compatibility-level", `Control\Lsa`, "LmCompatibilityLevel"}, // https://learn.microsoft.com/windows/security/threat-protection/security-policy-settings/network-security-lan-manager-authentication-level
	{"lm-hash-not-stored", `Control\Lsa`, "NoLMHash"},
	{"lsa-protection", `Control\Lsa`, "RunAsPPL"},
	{"ntlm-sent", `Control\Lsa\MSV1_0`, "RestrictSendingNTLMTraffic"},
	{"ntlm-received", `Control\Lsa\MSV1_0`, "RestrictReceivingNTLMTraffic"},
	{"ntlm-client-security", `Control\Lsa\MSV1_0`, "NtlmMinClientSec"},
	{"ntlm-server-security", `Control\Lsa\MSV1_0`, "NtlmMinServerSec"},
	{"wdigest-clear-text", `Control\SecurityProviders\WDigest`, "UseLogonCredential"},
	{"ldap-server-signing", `Services\NTDS\Parameters`, "LDAPServerIntegrity"},
	{"ldap-channel-binding", `Services\NTDS\Parameters`, "LdapEnforceChannelBinding"},
	{"ldap-client-signing", `Services\LDAP`, "LDAPClientIntegrity"},
	{"netlogon-full-protection", `Services\Netlogon\Parameters`, "FullSecureChannelProtection"},
	{"rdp-denied", `Control\Terminal Server`, "fDenyTSConnections"},
	{"rdp-nla", `Control\Terminal Server\WinStations\RDP-Tcp`, "UserAuthentication"},
	{"rdp-security-layer", `Control\Terminal Server\WinStations\RDP-Tcp`, "SecurityLayer"},
	{"rdp-encryption-level", `Control\Terminal Server\WinStations\RDP-Tcp`, "MinEncryptionLevel"},
	{"rdp-port", `Control\Terminal Server\WinStations\RDP-Tcp`, "PortNumber"},
	{"firewall-domain", keyFirewall + `\DomainProfile`, "EnableFirewall"},
	{"firewall-private", keyFirewall + `\StandardProfile`, "EnableFirewall"},
	{"firewall-public", keyFirewall + `\PublicProfile`, "EnableFirewall"},
	{"firewall-domain-in", keyFirewall + `\DomainProfile`, "DefaultInboundAction"},
	{"firewall-private-in", keyFirewall + `\StandardProfile`, "DefaultInboundAction"},
	{"firewall-public-in", keyFirewall + `\PublicProfile`, "DefaultInboundAction"},
	{"firewall-domain-out", keyFirewall + `\DomainProfile`, "DefaultOutboundAction"},
	{"firewall-private-out", keyFirewall + `\StandardProfile`, "DefaultOutboundAction"},
	{"firewall-public-out", keyFirewall + `\PublicProfile`, "DefaultOutboundAction"},
	{"firewall-domain-no-exceptions", keyFirewall + `\DomainProfile`, "DoNotAllowExceptions"},
	{"firewall-private-no-exceptions", keyFirewall + `\StandardProfile`, "DoNotAllowExceptions"},
	{"firewall-public-no-exceptions", keyFirewall + `\PublicProfile`, "DoNotAllowExceptions"},
	{"ip-routing", keyTCPIP, "IPEnableRouter"},
	{"ipv6-disabled-components", `Services\Tcpip6\Parameters`, "DisabledComponents"},
	{"product-type", keyProduct, "ProductType"}, // WinNT, ServerNT, LanmanNT
	{"time-zone", keyZone, "TimeZoneKeyName"},
}

// ofSoftware are those below SOFTWARE. Policies override what is set elsewhere.
var ofSoftware = []setting{
	{"uac", keyPolicies, "EnableLUA"},
	{"remote-uac-filter-off", keyPolicies, "LocalAccountTokenFilterPolicy"},
	{"credssp-oracle", keyPolicies + `\CredSSP\Parameters`, "AllowEncryptionOracle"},
	{"auto-logon", `SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon`, "AutoAdminLogon"},
	{"autorun-off-for", `SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\Explorer`, "NoDriveTypeAutoRun"},
	{"rpc-ports", `SOFTWARE\Microsoft\Rpc\Internet`, "Ports"},
	{"policy-rdp-denied", keyPolicyRDP, "fDenyTSConnections"},
	{"policy-rdp-nla", keyPolicyRDP, "UserAuthentication"},
	{"policy-rdp-security-layer", keyPolicyRDP, "SecurityLayer"},
	{"policy-rdp-encryption", keyPolicyRDP, "MinEncryptionLevel"},
	{"policy-firewall-domain", keyPolicyFirewall + `\DomainProfile`, "EnableFirewall"},
	{"policy-firewall-domain-in", keyPolicyFirewall + `\DomainProfile`, "DefaultInboundAction"},
	{"policy-firewall-domain-out", keyPolicyFirewall + `\DomainProfile`, "DefaultOutboundAction"},
	{"policy-firewall-private", keyPolicyFirewall + `\StandardProfile`, "EnableFirewall"},
	{"policy-firewall-private-in", keyPolicyFirewall + `\StandardProfile`, "DefaultInboundAction"},
	{"policy-firewall-private-out", keyPolicyFirewall + `\StandardProfile`, "DefaultOutboundAction"},
	{"policy-firewall-public", keyPolicyFirewall + `\PublicProfile`, "EnableFirewall"},
	{"policy-firewall-public-in", keyPolicyFirewall + `\PublicProfile`, "DefaultInboundAction"},
	{"policy-firewall-public-out", keyPolicyFirewall + `\PublicProfile`, "DefaultOutboundAction"},
	{"policy-llmnr", `SOFTWARE\Policies\Microsoft\Windows NT\DNSClient`, "EnableMulticast"},
	{"policy-point-and-print", keyPointAndPrint, "NoWarningNoElevationOnInstall"},
	{"policy-point-and-print-update", keyPointAndPrint, "UpdatePromptSettings"},
	{"policy-printer-drivers-admins", keyPointAndPrint, "RestrictDriverInstallationToAdministrators"}, // https://support.microsoft.com/topic/873642bf-2634-49c5-a23b-6d8e9a302872
	{"policy-event-forwarding", `SOFTWARE\Policies\Microsoft\Windows\EventLog\EventForwarding\SubscriptionManager`, "1"},
	{"policy-winrm", `SOFTWARE\Policies\Microsoft\Windows\WinRM\Service`, "AllowAutoConfig"},
	{"policy-update-server", `SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate`, "WUServer"},
	{"policy-update-off", `SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate\AU`, "NoAutoUpdate"},
}

const (
	keyFirewall       = `Services\SharedAccess\Parameters\FirewallPolicy`
	keyInterface      = keyTCPIP + `\Interfaces`
	keyAdapters       = `Control\Network\{4D36E972-E325-11CE-BFC1-08002BE10318}`
	keySchannel       = `Control\SecurityProviders\SCHANNEL\Protocols`
	keyPolicies       = `SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System`
	keyPolicyRDP      = `SOFTWARE\Policies\Microsoft\Windows NT\Terminal Services`
	keyPolicyFirewall = `SOFTWARE\Policies\Microsoft\WindowsFirewall`
	keyFeatures       = `SOFTWARE\Microsoft\ServerManager\ServicingStorage\ServerComponentCache`
	keyPointAndPrint  = `SOFTWARE\Policies\Microsoft\Windows NT\Printers\PointAndPrint`
	keyNetBIOS        = `Services\NetBT\Parameters\Interfaces`
)

// setup says how the machine is set up.
func (r *reading) setup() {
	for _, s := range ofSystem {
		r.setting(r.set, r.setPath+`\`, s)
	}
	for _, p := range []string{"SSL 2.0", "SSL 3.0", "TLS 1.0", "TLS 1.1", "TLS 1.2"} {
		for _, side := range []string{"Client", "Server"} {
			id := strings.ToLower(strings.ReplaceAll(p+"-"+side, " ", "-"))
			r.setting(r.set, r.setPath+`\`, setting{id, keySchannel + `\` + p + `\` + side, "Enabled"})
			r.setting(r.set, r.setPath+`\`, setting{id + "-off-by-default", keySchannel + `\` + p + `\` + side, "DisabledByDefault"})
		}
	}
	for _, s := range ofSoftware {
		r.setting(r.machine, "", s)
	}
	r.netBIOS()
	r.stack()
	r.shutdown()
	r.services()
	r.firewall()
	r.shares()
	r.adapters()
	r.features()
	r.store()
}

// setting says what a value is, or that a source shows it is not there. Where a source is
// damaged the setting is unknown; that it is damaged is said elsewhere, and once.
func (r *reading) setting(top winreg.Key, prefix string, s setting) {
	if top == nil {
		return
	}
	from := r.at(prefix + s.key + `\` + s.value)
	k, err := top.Open(s.key)
	var v winreg.Value
	if err == nil {
		v, err = k.Value(s.value)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.h.Set(s.id, host.NotSet, r.rank, from)
	case err == nil:
		r.h.Set(s.id, clean(shown(v)), r.rank, from)
	}
}

// netBIOS says for all adapters together whether they speak NetBIOS: 0 is as DHCP says, 1 on,
// 2 off. Adapters that differ give a list, each value once; one that sets nothing counts as
// 0, if the source shows it whole. Adapters that are gone keep their keys and count too.
// https://learn.microsoft.com/windows/win32/cimwin32prov/settcpipnetbios-method-in-class-win32-networkadapterconfiguration, read 2026-11-25
func (r *reading) netBIOS() {
	k, path := r.system(keyNetBIOS)
	if k == nil {
		return
	}
	keys, err := k.Subkeys()
	r.damage(err, path)
	if err != nil || len(keys) == 0 || len(keys) > maxAdapters {
		return
	}
	var all []string
	for _, a := range keys {
		v, err := a.Value("NetbiosOptions")
		option := "0"
		switch {
		case err == nil:
			option = clean(shown(v))
		case !errors.Is(err, fs.ErrNotExist):
			return
		}
		if !slices.Contains(all, option) {
			all = append(all, option)
		}
	}
	slices.Sort(all)
	r.h.Set("netbios-options", strings.Join(all, ", "), r.rank, r.at(path))
}

// shown writes a value for people, and for rules that compare it.
func shown(v winreg.Value) string {
	if list, ok := v.Texts(); ok {
		if len(list) == 0 {
			return "none"
		}
		return strings.Join(list, ", ")
	}
	return v.Plain()
}

// stack finds the servicing stack: below Version the name of each value is a version, and
// the highest is in use.
// https://learn.microsoft.com/troubleshoot/windows-server/installing-updates-features-roles/servicing-stack-updates
func (r *reading) stack() {
	const path = keyCBS + `\Version`
	k, err := r.open(r.machine, path, path)
	if err != nil {
		return
	}
	values, err := k.Values()
	r.damage(err, path)
	var best winver.Build
	name := ""
	for _, v := range values {
		var b winver.Build
		if b.UnmarshalText([]byte(clean(v.Name))) == nil && (name == "" || b.Compare(best) > 0) {
			best, name = b, v.Name
		}
	}
	r.h.ServicingStack.Say(best, r.rank, r.at(path+`\`+name))
}

// shutdown reads when the machine was shut down, a FILETIME.
func (r *reading) shutdown() {
	k, path := r.system(`Control\Windows`)
	if k == nil {
		return
	}
	v, err := k.Value("ShutdownTime")
	if err != nil || len(v.Data) != 8 {
		return
	}
	t, ok := evidence.InstallDate(fmt.Sprintf("%016x", binary.LittleEndian.Uint64(v.Data)), evidence.OrderUnknown)
	if !ok {
		return
	}
	if local, ok := r.local(t.Truncate(time.Second)); ok {
		r.h.Shutdown.Say(local, r.rank, r.at(path+`\ShutdownTime`))
	}
}

// starts are by the numbers of Start:
// https://learn.microsoft.com/windows-hardware/drivers/install/hklm-system-currentcontrolset-services-registry-tree
var starts = [...]host.Start{host.StartBoot, host.StartSystem, host.StartAuto, host.StartManual, host.StartDisabled}

// win32 are the bits of Type that tell a service from a driver.
const win32 = 0x30

// roles are what a machine does for others, by the service that does it.
var roles = map[string]string{
	"ntds": "domain controller", "dns": "DNS server", "dhcpserver": "DHCP server", "certsvc": "certification authority", "w3svc": "web server",
	"ias": "network policy server", "termservlicensing": "remote desktop licensing", "wdsserver": "deployment server", "vmms": "hypervisor",
	"dfsr": "DFS replication", "nfssvc": "NFS server", "iisadmin": "web server", "msexchangeis": "Exchange", "mssqlserver": "SQL Server",
	"wsusservice": "update server", "smtpsvc": "mail server", "ftpsvc": "FTP server", "msftpsvc": "FTP server", "clussvc": "cluster node",
	"adws": "directory web services", "adfssrv": "federation server", "remoteaccess": "router or VPN server", "fax": "fax server", "tssdis": "remote desktop broker",
}

// services lists the services, and what they make of the machine.
func (r *reading) services() {
	k, path := r.system("Services")
	if k == nil {
		return
	}
	keys, err := k.Subkeys()
	r.damage(err, path)
	for _, s := range keys {
		kind, _ := number(s, "Type")
		start, ok := number(s, "Start")
		name := clean(s.Name())
		if kind&win32 == 0 || !ok || start >= uint64(len(starts)) || name == "" {
			continue
		}
		from := r.at(path + `\` + s.Name())
		display := text(s, "DisplayName")
		if strings.HasPrefix(display, "@") {
			display = ""
		}
		r.h.Services = append(r.h.Services, host.Service{Name: name, Display: display, Start: starts[start], Image: text(s, "ImagePath"), From: from})
		if role := roles[strings.ToLower(name)]; role != "" && starts[start] == host.StartAuto {
			r.h.Roles.Add(role, from)
		}
	}
	if err == nil && len(keys) > 0 {
		r.h.ServicesWhole.Say(true, r.rank, r.at(path))
	}
}

// firewall lists the rules: those of the machine itself, and those of group policy.
func (r *reading) firewall() {
	if k, path := r.system(keyFirewall); k != nil {
		r.rules(k, path)
	}
	if k, err := r.machine.Open(keyPolicyFirewall); err == nil {
		r.groupRules(k)
	}
}

// Firewall says what one policy of Windows Firewall says: what netsh advfirewall export
// writes is a hive whose root is the key FirewallPolicy. It names no machine.
func Firewall(h *host.Host, policy winreg.Key, from host.Source, rank int) {
	r := &reading{h: h, source: from, rank: rank, root: "policy\\"}
	for _, s := range ofSystem {
		if key, ok := strings.CutPrefix(s.key, keyFirewall+`\`); ok {
			r.setting(policy, "", setting{s.id, key, s.value})
		}
	}
	r.rules(policy, "")
}

// groupRules are those of group policy. That there are none proves nothing of the others.
func (r *reading) groupRules(policy winreg.Key) {
	const path = keyPolicyFirewall + `\FirewallRules`
	k, err := r.open(policy, "FirewallRules", path)
	if err == nil {
		r.ruleValues(k, path)
	}
}

// rules reads the rules below the key of a policy, and whether these are all.
func (r *reading) rules(policy winreg.Key, path string) {
	path = strings.TrimPrefix(path+`\FirewallRules`, `\`)
	k, err := r.open(policy, "FirewallRules", path)
	if err != nil {
		return
	}
	if r.ruleValues(k, path) {
		r.h.FirewallWhole.Say(true, r.rank, r.at(path))
	}
}

// ruleValues reads rules, and reports whether every one could be read. A rule is fields joined
// by bars:
// https://learn.microsoft.com/openspecs/windows_protocols/ms-gpfas/2efe0b76-7b4a-41ff-9050-1023f8196d16, read 2026-11-25
func (r *reading) ruleValues(k winreg.Key, path string) (whole bool) {
	values, err := k.Values()
	r.damage(err, path)
	whole = err == nil
	for _, v := range values {
		s, ok := v.Text()
		if !ok || len(s) > maxRule || !strings.HasPrefix(s, "v") {
			if whole {
				r.h.Gap(host.Gap{What: "firewall rules", From: r.at(path + `\` + v.Name), Why: "a rule is not written as rules are, or longer than is read"})
			}
			whole = false
			continue
		}
		rule := host.FirewallRule{ID: clean(v.Name), From: r.at(path + `\` + v.Name)}
		for field := range strings.SplitSeq(s, "|") {
			name, value, _ := strings.Cut(field, "=")
			put(&rule, strings.ToUpper(name), clean(value))
		}
		firewall.Normal(&rule)
		r.h.FirewallRules = append(r.h.FirewallRules, rule)
	}
	return whole
}

// maxRule bounds a rule's text. A thousand addresses of each kind need 100 KB.
const maxRule = 1 << 20

// securities are what IPsec must do, by the words of the registry and those of netsh.
var securities = map[string]string{"authenticate": "Authenticate", "authenticateencrypt": "AuthEnc", "an-noencap": "AuthNoEncap", "ane-nego": "AuthDynEnc"}

func put(rule *host.FirewallRule, field, value string) {
	add := func(to *string) {
		if *to != "" {
			*to += ","
		}
		*to += value
	}
	switch field {
	case "ACTION":
		rule.Allow = strings.EqualFold(value, "Allow") || strings.EqualFold(value, "ByPass")
		if strings.EqualFold(value, "ByPass") {
			rule.Secure = strings.TrimSpace("Bypass " + rule.Secure)
		}
	case "ACTIVE":
		rule.Active = strings.EqualFold(value, "TRUE")
	case "DIR":
		rule.Out = strings.EqualFold(value, "Out")
	case "PROTOCOL":
		rule.Protocol = value
	case "PROFILE":
		add(&rule.Profiles)
	case "LA4", "LA6":
		add(&rule.Local)
	case "RA4", "RA6", "RA42", "RA62":
		add(&rule.Peer)
	case "LPORT", "LPORT2_10", "LPORT2_20", "LPORT2_24", "LPORT2_29":
		add(&rule.LocalPort)
	case "RPORT", "RPORT2_10", "RPORT2_24", "RPORT2_25", "RPORT2_28":
		add(&rule.PeerPort)
	case "ICMP4", "ICMP6":
		add(&rule.ICMP)
	case "IF", "IFTYPE":
		add(&rule.Interfaces)
	case "SECURITY", "SECURITY2_9", "SECURITY2":
		if name := securities[strings.ToLower(value)]; name != "" {
			value = name
		}
		bypass, _, _ := strings.Cut(rule.Secure, " ")
		if bypass != "Bypass" {
			bypass = ""
		}
		rule.Secure = strings.TrimSpace(bypass + " " + value) // the newest of them says most, and stands last
	case "APP":
		rule.App = value
	case "SVC":
		rule.Service = value
	case "NAME":
		rule.Name = value
	}
}

// shares lists what is shared: each value is a list of Name=value.
func (r *reading) shares() {
	k, path := r.system(`Services\LanmanServer\Shares`)
	if k == nil {
		return
	}
	values, err := k.Values()
	r.damage(err, path)
	for _, v := range values {
		fields, ok := v.Texts()
		name := clean(v.Name)
		if !ok || name == "" {
			continue
		}
		share := host.Share{Name: name, From: r.at(path + `\` + v.Name)}
		for _, f := range fields {
			if p, ok := strings.CutPrefix(f, "Path="); ok {
				share.Path = clean(p)
			}
		}
		r.h.Shares = append(r.h.Shares, share)
	}
}

// adapters lists the addresses: set by hand, or those last leased.
func (r *reading) adapters() {
	k, path := r.system(keyInterface)
	if k == nil {
		return
	}
	keys, err := k.Subkeys()
	r.damage(err, path)
	for _, a := range keys[:min(len(keys), maxAdapters)] {
		prefix := ""
		dhcp, _ := number(a, "EnableDHCP")
		if dhcp != 0 {
			prefix = "Dhcp"
		}
		addresses, masks := list(a, prefix+"IPAddress"), list(a, prefix+"SubnetMask")
		for i := range min(len(addresses), len(masks)) {
			addresses[i] += "/" + masks[i]
		}
		if len(addresses) == 0 {
			continue
		}
		servers := list(a, "NameServer") // one set by hand goes before one leased
		if len(servers) == 0 {
			servers = list(a, "DhcpNameServer")
		}
		name, _ := r.system(keyAdapters + `\` + a.Name() + `\Connection`)
		r.h.Adapters = append(r.h.Adapters, host.Adapter{
			ID: clean(a.Name()), Name: text(name, "Name"), DHCP: dhcp != 0, Addresses: addresses,
			Gateways: list(a, prefix+"DefaultGateway"), NameServers: servers, From: r.at(path + `\` + a.Name()),
		})
	}
}

// maxAdapters bounds how many are looked at; each is looked up by name in another key.
const maxAdapters = 256

// maxList bounds how many addresses of a kind an adapter may have.
const maxList = 64

// list reads addresses, from a list or a text that joins them by commas or spaces, without
// those that mean none.
func list(k winreg.Key, name string) (out []string) {
	v, err := k.Value(name)
	if err != nil {
		return nil
	}
	texts, ok := v.Texts()
	if !ok {
		s, _ := v.Text()
		texts = strings.FieldsFunc(s, func(c rune) bool { return c == ',' || c == ' ' })
	}
	for _, s := range texts {
		if s = clean(s); s != "" && s != "0.0.0.0" && s != "255.255.255.255" && len(out) < maxList {
			out = append(out, s)
		}
	}
	return out
}

// features are the roles and features that Server Manager of 2012 and later knows to be
// installed: InstallState 1.
func (r *reading) features() {
	k, err := r.open(r.machine, keyFeatures, keyFeatures)
	if err != nil {
		return
	}
	keys, err := k.Subkeys()
	r.damage(err, keyFeatures)
	for _, f := range keys {
		if n, ok := number(f, "InstallState"); ok && n == 1 && clean(f.Name()) != "" {
			r.h.Roles.Add(clean(f.Name()), r.at(keyFeatures+`\`+f.Name()))
		}
	}
}

// store reads what the component store itself waits for: while it names a pending.xml,
// that is what the next start executes.
func (r *reading) store() {
	const path = "COMPONENTS"
	k, err := r.open(r.machine, path, path)
	if err != nil {
		return
	}
	if _, err := k.Value("PendingXmlIdentifier"); err == nil {
		r.restart("the component store has operations for the next start (pending.xml)", path+`\PendingXmlIdentifier`)
	}
}
