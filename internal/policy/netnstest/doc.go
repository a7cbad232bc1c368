// Package netnstest gives tests network namespaces of their own, where they may load firewall
// rules and send what they like: nothing of it reaches the machine they run on, and nothing is left
// when the test ends. It is for tests only, and works on Linux as root.
package netnstest
