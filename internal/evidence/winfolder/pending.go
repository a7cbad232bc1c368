package winfolder

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
)

// maxPending bounds what is read of pending.xml, as of any text.
const maxPending = evidence.MaxText

// pendingFiles counts the files that pending.xml would put in place, move or delete, up to
// where it can be read. No format is published. Each operation is an element named after it,
// such as HardlinkFile with source and destination. What is in the file is carried out by
// poqexec.exe, the executor of the queue of primitive operations, which the value SetupExecute
// of Session Manager starts when the machine goes down and comes up:
// https://guyrleech.wordpress.com/2014/07/16/reasons-for-reboots-part-2-2/, read 2026-11-22.
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
