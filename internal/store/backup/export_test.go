package backup

import "io"

// CheckPlain is Check of an archive that is not packed.
func CheckPlain(r io.Reader) (Header, End, error) {
	b := newReader(r)
	if err := b.begin(); err != nil {
		return Header{}, End{}, err
	}
	end, err := b.Read(Nowhere{})
	return b.Header, end, err
}
