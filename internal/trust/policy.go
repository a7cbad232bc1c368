package trust

import (
	"crypto"
	"slices"
	"time"
)

// What is believed, and until when. Each table states its sources.

// publisher is a name under which Microsoft signs. Names are compared whole: "Microsoft
// Corporation Updates" is nobody.
type publisher struct {
	name     string
	purposes []string // the certificate is for one of these
	kinds    []Kind   // in which updates come under this name
}

const organization = "Microsoft Corporation"

// Purposes of certificates.
const (
	forCode     = "1.3.6.1.5.5.7.3.3"       // RFC 5280, 4.2.1.12
	forTime     = "1.3.6.1.5.5.7.3.8"       // RFC 5280, 4.2.1.12
	forWindows  = "1.3.6.1.4.1.311.10.3.6"  // wincrypt.h: szOID_NT5_CRYPTO, a part of Windows
	forUpdates  = "1.3.6.1.4.1.311.76.6.1"  // Windows Update
	forLifetime = "1.3.6.1.4.1.311.10.3.13" // wincrypt.h: szOID_KP_LIFETIME_SIGNING: dies with its certificate
)

// publishers are those that sign updates. MSU files of 2015 and cabinets of 2019 bear them.
var publishers = []publisher{
	{"Microsoft Corporation", []string{forCode}, []Kind{Cabinet, Patch, List}},
	{"Microsoft Windows", []string{forWindows, forUpdates}, []Kind{Cabinet, List}},
}

// sha1Until is the day from which on a countersigned SHA-1 digest, or a path with SHA-1 in it, no longer counts.
// Without countersignature it counts only before that day too, which is over.
var sha1Until = []struct {
	kinds []Kind
	until time.Time
	why   string
}{
	// https://support.microsoft.com/help/4472027: updates signed with SHA-2 alone, in phases from April to September 2019.
	{[]Kind{Cabinet, Patch, List}, time.Date(2019, 10, 1, 0, 0, 0, 0, time.UTC), "Microsoft signed no update with SHA-1 after September 2019 (KB4472027)"},
	// https://techcommunity.microsoft.com/t5/windows-it-pro-blog/microsoft-to-use-sha-2-exclusively-starting-may-9-2021/ba-p/2261924
	{nil, time.Date(2021, 5, 9, 23, 0, 0, 0, time.UTC), "Microsoft used SHA-1 nowhere after 2021-05-09"},
}

// sha1Refused gives why SHA-1 does not count in a file of that kind at that time, or "".
func sha1Refused(k Kind, at time.Time) string {
	for _, row := range sha1Until {
		if (row.kinds == nil || slices.Contains(row.kinds, k)) && !at.Before(row.until) {
			return row.why
		}
	}
	return ""
}

// Bounds of what is looked at. Microsoft's paths have three or four certificates, its signatures
// at most two levels.
const (
	maxPath   = 8
	maxLinks  = 512  // signatures of certificates checked for one file
	maxNested = 3    // levels of signatures in signatures
	maxSigs   = 8    // signatures in one file
	minRSA    = 2048 // bits; all of Microsoft's keys since 6.0 have them
	maxRSA    = 8192 // bits; more only costs time
)

// encryptions is the name that Microsoft writes for the algorithm of a signature in each place.
// All of them mean the same there, which is why any other is a byte that somebody changed.
var encryptions = map[string][]string{
	"signature": {"1.2.840.113549.1.1.1"},                           // rsaEncryption
	"PKCS #9":   {"1.2.840.113549.1.1.5"},                           // sha1WithRSAEncryption
	"RFC 3161":  {"1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12"}, // with SHA-256, SHA-384
}

// digests names the algorithms.
var digests = map[crypto.Hash]string{crypto.SHA1: "SHA-1", crypto.SHA256: "SHA-256", crypto.SHA384: "SHA-384", crypto.SHA512: "SHA-512"}
