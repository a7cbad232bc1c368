package pkcs7_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/format/cat"
	"github.com/oldguard/oldguard/internal/format/pkcs7"
	"github.com/oldguard/oldguard/internal/format/pkcs7/der"
)

func TestNotCanonical(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		odd  int
	}{
		{"canonical", []byte{0x30, 3, 2, 1, 5}, 0},
		{"long_length", []byte{0x30, 0x81, 3, 2, 1, 5}, 1},
		{"padded_integer", []byte{0x30, 4, 2, 2, 0, 5}, 1},
		{"boolean", []byte{1, 1, 7}, 1},
		{"null_with_contents", []byte{5, 1, 0}, 1},
		{"indefinite", []byte{0x30, 0x80, 0, 0}, 1},
		{"cut", []byte{0x30, 9, 2}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := der.Check(tt.b, 10); len(got) != tt.odd {
				t.Errorf("Check(% x) = %q, want %d", tt.b, got, tt.odd)
			}
		})
	}
}

func TestOIDString(t *testing.T) {
	for want, b := range map[string][]byte{
		"1.3.6.1.4.1.311.2.1.4": {0x2B, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 4},
		"2.5.29.37":             {0x55, 0x1D, 0x25},
		"2.999":                 {0x88, 0x37},
		"":                      {0x82},
	} {
		if got := (der.Value{Tag: der.OID, Bytes: b}).OIDString(); got != want {
			t.Errorf("% x is %q, want %q", b, got, want)
		}
	}
}

func TestTime(t *testing.T) {
	for text, want := range map[string]time.Time{
		"\x17150605015228Z":       time.Date(2015, 6, 5, 1, 52, 28, 0, time.UTC),
		"\x17500101000000Z":       time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC),
		"\x1820150605015229.143Z": time.Date(2015, 6, 5, 1, 52, 29, 143e6, time.UTC),
	} {
		got, err := der.Value{Tag: text[0], Bytes: []byte(text[1:])}.Time()
		if err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x30\x03\x06\x01\x2A"))
	f.Add([]byte("\x30\x0F\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x02\xA0\x02\x30\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		der.Check(b, 5)
		sd, err := pkcs7.Parse(b)
		if err != nil {
			return
		}
		if !bytes.Equal(append(bytes.Clone(sd.Raw), sd.Trailing...), b) {
			t.Error("bytes got lost")
		}
		_, _ = sd.Indirect()
		_, _ = sd.TSTInfo()
		for _, s := range sd.Signers {
			s.Opus()
			_, _ = s.CertIDs()
			for _, c := range sd.Certificates {
				if c.Cert != nil {
					_ = s.Verify(c.Cert, sd.ContentType, sd.Content)
				}
			}
		}
		_, _ = cat.Parse(sd.Content)
	})
}

func TestVerifyKeyRefusesOtherKeys(t *testing.T) {
	if err := pkcs7.VerifyKey(new(x509.Certificate), crypto.SHA256, make([]byte, 32), nil); err == nil {
		t.Error("a certificate was taken for a key")
	}
}
