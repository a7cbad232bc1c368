// Package prooftest proves a firewall policy: it loads it on a router between network namespaces,
// has what is allowed talk with real sockets, and looks for anything else that passes. It is
// for tests only, and works on Linux as root.
package prooftest
