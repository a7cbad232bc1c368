// Package winver parses, compares and explains Windows version and build numbers as
// people and programs write them. It is the one public package of this module: import
// it where third-party software must understand that 6.0.6002 and 6.0.6003 are the same
// product, Windows Server 2008 SP2.
//
// It knows versions only. Which updates exist, and what a machine lacks, is not its
// business.
package winver
