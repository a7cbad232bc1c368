//go:build !unix

package storetest

import "syscall"

// lesser gives nothing: only where there is root can one be too much.
func lesser(string) (*syscall.SysProcAttr, error) { return nil, nil }
