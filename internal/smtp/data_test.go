package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// read gives the stored form of wire and what of wire was left unread.
func read(t *testing.T, wire string, size int) (stored, rest string, info DataInfo) {
	t.Helper()
	var msg strings.Builder
	src := bufio.NewReaderSize(strings.NewReader(wire), size)
	info, err := ReadData(&msg, src, DataOptions{})
	if err != nil {
		t.Fatalf("%.200q: %v", wire, err)
	}
	left, _ := io.ReadAll(src)
	return msg.String(), string(left), info
}

// The table of "Smuggling, in full". Each sequence stands behind a line "x",
// and again as the first octets, before what would be a second message if it
// ended the first.
func TestA1A2Smuggling(t *testing.T) {
	const (
		inner = "MAIL FROM:<s@x.example>\r\nRCPT TO:<alice@us>\r\nDATA\r\nSubject: in\r\n\r\n"
		kept  = "MAIL FROM:<s@x.example>\nRCPT TO:<alice@us>\nDATA\nSubject: in\n\n"
	)
	for _, tt := range []struct {
		seq, stored, first string // stored: behind "x"; first: as the first octets
		bare               bool   // refused by bare-newline=reject
		nul                bool
	}{
		{"\n.\n", "\n.\n", "\n.\n", true, false},
		{"\n.\r\n", "\n.\n", "\n.\n", true, false},
		{"\r\n.\n", "\n\n", "\n\n", true, false},
		{".\n", ".\n", "\n", true, false},
		{"\r.\r", " . ", " . ", true, false},
		{"\r.\r\n", " .\n", " .\n", true, false},
		{"\r\n.\r", "\n ", "\n ", true, false},
		{"\r.\n", " .\n", " .\n", true, false},
		{"\n.\r", "\n. ", "\n. ", true, false},
		{"\n\r.\n\r", "\n .\n ", "\n .\n ", true, false},
		{"\r\n.\r\r\n", "\n \n", "\n \n", true, false},
		{"\r\r\n.\r\r\n", " \n \n", " \n \n", true, false},
		{"\r\n.\x00\r\n", "\n\x00\n", "\n\x00\n", false, true},
		{"\r\n\x00.\r\n", "\n\x00.\n", "\n\x00.\n", false, true},
		{"\r\n. \r\n", "\n \n", "\n \n", false, false},
		{"\r\n.\t\r\n", "\n\t\n", "\n\t\n", false, false},
		{"\r\n .\r\n", "\n .\n", "\n .\n", false, false},
		{"\r\n.\v\r\n", "\n\v\n", "\n\v\n", false, false},
		{"\r\n\f.\r\n", "\n\f.\n", "\n\f.\n", false, false},
		{"\r\n.\b\r\n", "\n\b\n", "\n\b\n", false, false},
		{"\r\n.\x1a\r\n", "\n\x1a\n", "\n\x1a\n", false, false},
		{"\r\n\x04.\r\n", "\n\x04.\n", "\n\x04.\n", false, false},
		{"\u0085.\u0085", "\u0085.\u0085", "\u0085.\u0085", false, false},
		{"\u2028.\r\n", "\u2028.\n", "\u2028.\n", false, false},
		{"\r\n\uff0e\r\n", "\n\uff0e\n", "\n\uff0e\n", false, false},
		{"\r\n..\r\n", "\n.\n", "\n.\n", false, false},
		{"\n..\n", "\n..\n", "\n..\n", true, false},
		{"\r\n.x\r\n", "\nx\n", "\nx\n", false, false}, // a client that does not double dots
	} {
		for _, at := range []struct{ before, kept, seq string }{{"x", "x", tt.stored}, {"", "", tt.first}} {
			wire := at.before + tt.seq + inner + ".\r\nQUIT\r\n"
			for _, size := range []int{16, 17, 64, 4096} {
				got, rest, info := read(t, wire, size)
				if want := at.kept + at.seq + kept; got != want {
					t.Errorf("%q behind %q: stored %q, want %q", tt.seq, at.before, got, want)
				}
				if rest != "QUIT\r\n" {
					t.Errorf("%q behind %q: left %q", tt.seq, at.before, rest)
				}
				if info.BareNewline != tt.bare || info.NUL != tt.nul {
					t.Errorf("%q: %+v, want bare newline %v, NUL %v", tt.seq, info, tt.bare, tt.nul)
				}
				if info.Octets != int64(len(got)) || info.Size != int64(len(got)+strings.Count(got, "\n")) {
					t.Errorf("%q: counted %+v, stored %d", tt.seq, info, len(got))
				}
				checkOutput(t, got)
			}
		}
	}
}

// checkOutput holds A2 and A3 for a stored message: what is sent has no bare CR
// or LF, and is the same message to the same end.
func checkOutput(t *testing.T, stored string) {
	t.Helper()
	var wire bytes.Buffer
	if err := WriteDataExact(&wire, strings.NewReader(stored)); err != nil {
		t.Fatal(err)
	}
	plain := strings.ReplaceAll(wire.String(), "\r\n", "")
	if strings.ContainsAny(plain, "\r\n") {
		t.Errorf("%.200q sent as %.200q", stored, wire.String())
	}
	again, rest, info := read(t, wire.String(), 4096)
	if stored != "" && !strings.HasSuffix(stored, "\n") {
		stored += "\n"
	}
	if again != stored || rest != "" || info.BareNewline {
		t.Errorf("%.200q: the next server sees %.200q, %.50q left", stored, again, rest)
	}
}

func TestA3Dots(t *testing.T) {
	lines := []string{".", "..", "...", ".a", " .", "a.", "", ". ", "..a"}
	var all strings.Builder
	for _, first := range lines {
		for _, last := range lines {
			all.Reset()
			fmt.Fprintf(&all, "%s\nmiddle\n%s\n", first, last)
			checkOutput(t, all.String())
			checkOutput(t, strings.TrimSuffix(all.String(), "\n"))
		}
	}
	checkOutput(t, strings.Repeat(".\n", 50))
	checkOutput(t, strings.Repeat("..\n", 50))
	checkOutput(t, "")
	checkOutput(t, "\n")
	checkOutput(t, ".")
}

// edges are A4's lengths, and the blocks' own.
func edges() []int {
	var n []int
	for _, span := range [][2]int{{510, 514}, {996, 1002}, {1022, 1026}, {2045, 2050}, {4094, 4098}, {8190, 8194}, {16381, 16387}, {32765, 32771}, {65533, 65538}} {
		for i := span[0]; i <= span[1]; i++ {
			n = append(n, i)
		}
	}
	return n
}

func TestA4LineEdges(t *testing.T) {
	for _, n := range edges() {
		line := strings.Repeat("a", n-1)
		for _, tail := range []string{".", ".\n.", "\n.", "\n..", "\n.x"} {
			stored := line + tail + "\nend\n"
			wire := strings.ReplaceAll(strings.ReplaceAll(stored, "\n.", "\n.."), "\n", "\r\n")
			for _, size := range []int{16, 512, 1000, 4096, 32768, 65536} {
				if got, rest, _ := read(t, wire+".\r\nQUIT\r\n", size); got != stored || rest != "QUIT\r\n" {
					t.Errorf("%d octets, %q, buffer %d: stored %d octets, want %d; left %q", n, tail, size, len(got), len(stored), rest)
				}
			}
			var out bytes.Buffer
			if err := WriteDataExact(&out, strings.NewReader(stored)); err != nil || out.String() != wire+".\r\n" {
				t.Errorf("%d octets, %q: sent %d octets, want %d, %v", n, tail, out.Len(), len(wire)+3, err)
			}
		}
	}
}

// Dot lines that begin at 2^k-3 to 2^k+3, counted on the wire and in the spool.
func TestA4DotEdges(t *testing.T) {
	for k := 4; k <= 17; k++ {
		for d := -3; d <= 3; d++ {
			at := 1<<k + d
			for _, dot := range []string{".\n", "..\n", ".x\n", "\n.\n"} {
				head := filler(at)
				stored := head + dot + "end\n"
				wire := strings.ReplaceAll(head, "\n", "\r\n") + strings.ReplaceAll("."+strings.ReplaceAll(dot, "\n.", "\n.."), "\n", "\r\n") + "end\r\n.\r\n"
				if dot[0] != '.' {
					wire = strings.ReplaceAll(head, "\n", "\r\n") + "\r\n..\r\nend\r\n.\r\n"
				}
				if got, rest, _ := read(t, wire+"NOOP\r\n", 4096); got != stored || rest != "NOOP\r\n" {
					t.Errorf("%q at %d: stored %d octets, want %d; left %q", dot, at, len(got), len(stored), rest)
				}
				var out bytes.Buffer
				if err := WriteData(&out, strings.NewReader(stored)); err != nil || out.String() != wire {
					t.Errorf("%q at %d: sent %d octets, want %d, %v", dot, at, out.Len(), len(wire), err)
				}
			}
		}
	}
}

// filler returns whole lines of n octets in all.
func filler(n int) string {
	var b strings.Builder
	for n > 0 {
		l := min(n, 71)
		b.WriteString(strings.Repeat("f", l-1) + "\n")
		n -= l
	}
	return b.String()
}

// However the octets come, one at a time or cut anywhere, the result is one.
func TestA1Chunks(t *testing.T) {
	const wire = "a\r\n.\r\r\n..\r\n.x\r\n\n.\n\r.\rb\r\n. \r\n\x00\r\n.\r\nRSET\r\n"
	want, wantRest, wantInfo := read(t, wire, 4096)
	for i := range len(wire) {
		var msg strings.Builder
		src := bufio.NewReader(io.MultiReader(strings.NewReader(wire[:i]), iotest.OneByteReader(strings.NewReader(wire[i:]))))
		info, err := ReadData(&msg, src, DataOptions{})
		rest, _ := io.ReadAll(src)
		if err != nil || msg.String() != want || string(rest) != wantRest || info != wantInfo {
			t.Errorf("cut at %d: %q, left %q, %+v, %v; want %q, left %q, %+v", i, msg.String(), rest, info, err, want, wantRest, wantInfo)
		}
	}
}

func TestReadDataEnds(t *testing.T) {
	for _, wire := range []string{"", "a", "a\r", "a\r\n", "a\r\n.", "a\r\n.\r", ".", ".\r", "a\n.\r\n", "\r\n.\n"} {
		if _, err := ReadData(io.Discard, bufio.NewReader(strings.NewReader(wire)), DataOptions{}); err != io.ErrUnexpectedEOF {
			t.Errorf("%q: %v, want io.ErrUnexpectedEOF", wire, err)
		}
	}
	broken := errors.New("broken")
	src := bufio.NewReader(io.MultiReader(strings.NewReader("a\r\n"), iotest.ErrReader(broken)))
	if _, err := ReadData(io.Discard, src, DataOptions{}); err != broken {
		t.Errorf("got %v, want the source's error", err)
	}
}

// Behind the limit and behind a failed write the look-alikes do nothing either,
// and the true end is found.
func TestA1BehindRefusals(t *testing.T) {
	long := strings.Repeat("0123456789\r\n", 10000)
	tail := "\n.\n\r.\r\r\n.\nMAIL FROM:<x@y>\r\n.\r\n"
	stored, _, _ := read(t, long+tail, 4096)
	broken := errors.New("disk full")
	for _, tt := range []struct {
		name  string
		dst   io.Writer
		limit int64
		big   bool
		err   error
	}{
		{"over the limit", io.Discard, 1000, true, nil},
		{"write error", failWriter{broken}, 0, false, broken},
		{"both", failWriter{broken}, 100000, true, broken},
		{"short write", shortWriter{}, 0, false, io.ErrShortWrite},
	} {
		src := bufio.NewReader(strings.NewReader(long + tail + "QUIT\r\n"))
		info, err := ReadData(tt.dst, src, DataOptions{Limit: tt.limit})
		rest, _ := io.ReadAll(src)
		if err != nil || string(rest) != "QUIT\r\n" || info.TooBig != tt.big || info.WriteErr != tt.err {
			t.Errorf("%s: %+v, %v, left %q", tt.name, info, err, rest)
		}
		if info.Octets != int64(len(stored)) || !info.BareNewline {
			t.Errorf("%s: counted %+v", tt.name, info)
		}
	}
}

// TestReadDataBeyond: a message without an end is read to the limit, as far beyond it
// as is said, and a buffer more.
func TestReadDataBeyond(t *testing.T) {
	for beyond, want := range map[int64]error{0: io.ErrUnexpectedEOF, 50_000: ErrNoEnd, 200_000: io.ErrUnexpectedEOF} {
		src := bufio.NewReader(strings.NewReader(strings.Repeat("0123456789\r\n", 10000)))
		info, err := ReadData(io.Discard, src, DataOptions{Limit: 1000, Beyond: beyond})
		if err != want || want == ErrNoEnd && (!info.TooBig || info.Size > 51_000+2*blockSize) {
			t.Errorf("%d beyond: %+v, %v, want %v", beyond, info, err, want)
		}
	}
}

// The limit counts as RFC 1870 does and is exact.
func TestReadDataLimit(t *testing.T) {
	for limit, big := range map[int64]bool{0: false, 13: true, 14: false, 15: false} {
		info, err := ReadData(io.Discard, bufio.NewReader(strings.NewReader("..abc\r\ndefg\r\n\r\n.\r\n")), DataOptions{Limit: limit})
		if err != nil || info.TooBig != big || info.Size != 14 || info.Octets != 11 {
			t.Errorf("limit %d: %+v, %v", limit, info, err)
		}
	}
}

// After the first error nothing more is written: a hole would be worse.
func TestA29WriteErrorIsFinal(t *testing.T) {
	broken := errors.New("broken")
	wire := strings.Repeat("line\r\n", 100000) + ".\r\n"
	w := &countWriter{err: broken}
	if info, err := ReadData(w, bufio.NewReader(strings.NewReader(wire)), DataOptions{}); err != nil || info.WriteErr != broken || w.n != 1 {
		t.Errorf("%+v, %v after %d writes", info, err, w.n)
	}
	w = &countWriter{err: broken}
	if err := WriteData(w, strings.NewReader(wire)); err != broken || w.n != 1 {
		t.Errorf("%v after %d writes", err, w.n)
	}
}

// A countWriter fails at its first write and at no other.
type countWriter struct {
	err error
	n   int
}

func (w *countWriter) Write(b []byte) (int, error) {
	if w.n++; w.n == 1 {
		return 0, w.err
	}
	return len(b), nil
}

type failWriter struct{ err error }

func (w failWriter) Write(b []byte) (int, error) { return 0, w.err }

type shortWriter struct{}

func (shortWriter) Write(b []byte) (int, error) { return len(b) / 2, nil }
