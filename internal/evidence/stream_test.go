package evidence

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

func wide(text string, big bool) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(text)) {
		if big {
			out = append(out, byte(u>>8), byte(u))
		} else {
			out = append(out, byte(u), byte(u>>8))
		}
	}
	return out
}

func linesOf(ctx context.Context, t *testing.T, b []byte) (lines []string, l *LineReader) {
	t.Helper()
	in := Input{Name: "x", File: io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))}
	r, err := in.Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l = NewLineReader(r)
	for {
		line, ok := l.Next()
		if !ok {
			return lines, l
		}
		lines = append(lines, string(line))
	}
}

func TestStream(t *testing.T) {
	long := strings.Repeat("x", MaxLine+1)
	tests := []struct {
		name string
		b    []byte
		want []string
		n    int
		long uint64
		cut  bool
	}{
		{"plain", []byte("a b\nc\n"), []string{"a b", "c"}, 2, 0, false},
		{"empty", nil, nil, 0, 0, false},
		{"crlf_and_wmic", []byte("a \r\n\r\nc\r\r\n"), []string{"a", "", "c"}, 3, 0, false},
		{"cut", []byte("a\n192.0.2.1"), []string{"a"}, 1, 0, true},
		{"utf8_mark", []byte("\ufeffa\n"), []string{"a"}, 1, 0, false},
		{"utf16", append([]byte{0xff, 0xfe}, wide("a\r\nö\U0001f600\r\n", false)...), []string{"a", "ö\U0001f600"}, 2, 0, false},
		{"utf16_big", append([]byte{0xfe, 0xff}, wide("a\r\nö\r\n", true)...), []string{"a", "ö"}, 2, 0, false},
		{"utf16_no_mark", wide("2019-03-19 08:00:00 ALLOW\r\n", false), []string{"2019-03-19 08:00:00 ALLOW"}, 1, 0, false},
		{"utf16_behind_a_line", append([]byte("head\n"), wide("2019-03-19 08:00:00\n", false)...), []string{"head", "2019-03-19 08:00:00"}, 2, 0, false},
		{"padded", []byte("\x00\x00\x00a\nb\n\x00\x00\x00\x00\x00\x00"), []string{"a", "b"}, 2, 0, false},
		{"nothing_but_padding", make([]byte, 3*streamChunk), nil, 0, 0, false},
		{"code_page", []byte("M\xfcller\n"), []string{"M\xfcller"}, 1, 0, false},
		{"too_long", []byte("a\n" + long + long + "\nb\n"), []string{"a", "b"}, 3, 1, false},
		{"too_long_and_cut", []byte("a\n" + long), []string{"a"}, 1, 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, l := linesOf(t.Context(), t, tt.b)
			if diff := cmp.Diff(tt.want, got); diff != "" || l.Err() != nil {
				t.Errorf("%v, lines (-want +got):\n%s", l.Err(), diff)
			}
			if l.N != tt.n || l.TooLong != tt.long || l.Cut != tt.cut {
				t.Errorf("line %d, too long %d, cut %v; want %d, %d, %v", l.N, l.TooLong, l.Cut, tt.n, tt.long, tt.cut)
			}
		})
	}
}

// TestStreamJoinsPairs: a character of two units that falls on the border of two chunks.
func TestStreamJoinsPairs(t *testing.T) {
	for shift := range 4 {
		text := strings.Repeat("a", shift) + strings.Repeat("\U0001f600", streamChunk/4+100) + "\n"
		for _, big := range []bool{false, true} {
			mark := []byte{0xff, 0xfe}
			if big {
				mark = []byte{0xfe, 0xff}
			}
			in := slices.Concat(mark, wide(text, big))
			r, err := Input{File: io.NewSectionReader(bytes.NewReader(in), 0, int64(len(in)))}.Stream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || string(got) != text {
				t.Errorf("shift %d, big %v: %d bytes, %v; want %d", shift, big, len(got), err, len(text))
			}
		}
	}
}

func TestStreamEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if lines, l := linesOf(ctx, t, []byte("a\n")); !errors.Is(l.Err(), context.Canceled) || len(lines) > 0 {
		t.Errorf("%v with %q", l.Err(), lines)
	}
	if _, err := (Input{Name: "d"}).Stream(t.Context()); err == nil {
		t.Error("a folder is read as text")
	}
}
