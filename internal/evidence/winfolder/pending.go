package winfolder

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxPending bounds what is read of pending.xml; a service pack's has some 40 MB.
const maxPending = 128 << 20

// pendingFiles counts the files that pending.xml would put in place, move or delete, up to
// where it can be read. It has no published format. Each operation is an element named after
// it (HardlinkFile, MoveFile, DeleteFile, …), with the path of what comes out of it.
// poqexec.exe, the executor of queued primitive operations, carries them out between shutdown
// and start and then takes the file away.
func pendingFiles(r io.Reader) (n int, err error) {
	limited := &io.LimitedReader{R: r, N: maxPending}
	d := xml.NewDecoder(limited)
	d.CharsetReader = func(charset string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("it is in the encoding %.40q", charset)
	}
	for root := true; ; {
		t, err := d.RawToken()
		switch {
		case errors.Is(err, io.EOF) && limited.N <= 0:
			return n, fmt.Errorf("it has more than %d MiB", maxPending>>20)
		case errors.Is(err, io.EOF) && root:
			return n, errors.New("it holds nothing")
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		}
		e, ok := t.(xml.StartElement)
		switch {
		case !ok:
		case root && e.Name.Local != rootPending:
			return n, fmt.Errorf("it begins with <%.40s> and not with <%s>", e.Name.Local, rootPending)
		case strings.HasSuffix(e.Name.Local, "File"):
			n++
		}
		root = root && !ok
	}
}

const rootPending = "PendingTransaction"
