package smtp

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

// chunked reads wire in chunks that are cut at cuts, and returns what is stored.
func chunked(t *testing.T, wire string, o DataOptions, cuts ...int) (stored string, info DataInfo) {
	t.Helper()
	var msg strings.Builder
	c := NewChunkReader(&msg, o)
	src := bufio.NewReaderSize(strings.NewReader(wire+"QUIT"), 16)
	at := 0
	for _, cut := range append(cuts, len(wire)) {
		if cut < at || cut > len(wire) {
			continue
		}
		if _, err := c.Read(src, int64(cut-at)); err != nil {
			t.Fatalf("%q: %v", wire, err)
		}
		at = cut
	}
	if rest, _ := io.ReadAll(src); string(rest) != "QUIT" {
		t.Errorf("%q: left %q", wire, rest)
	}
	info = c.End()
	return msg.String(), info
}

// byData is what ReadData stores of the same octets: with a dot before each dot
// behind a true CR LF, and with an end of the last line where it has none.
func byData(t *testing.T, octets string, o DataOptions) (stored string, info DataInfo) {
	t.Helper()
	wire := octets
	if strings.HasPrefix(wire, ".") {
		wire = "." + wire
	}
	wire = strings.ReplaceAll(wire, "\r\n.", "\r\n..")
	more := wire != "" && !strings.HasSuffix(wire, "\r\n")
	if more {
		wire += "\r\n"
	}
	var msg strings.Builder
	info, err := ReadData(&msg, bufio.NewReader(strings.NewReader(wire+".\r\n")), o)
	if err != nil {
		t.Fatalf("%q: %v", wire, err)
	}
	stored = msg.String()
	if more && strings.HasSuffix(octets, "\n") { // it had an end
		stored = strings.TrimSuffix(stored, "\n")
		info.Octets--
		info.Size -= 2
	}
	return stored, info
}

// A8: chunks are what DATA would be, wherever they are cut, and no dot is special.
func TestA8Chunks(t *testing.T) {
	for _, wire := range []string{
		"", "a", "a\r\n", ".\r\n", "a\r\n.\r\nb", "\r\n.\r\nQUIT\r\n", "..\r\n...\r\n", "a\n.\nb\n", "\r", "a\r", "a\r\r\n", "\n", "\r\n",
		"x\r.\r\n\r\r.\n\x00.\r\n", strings.Repeat("a", 70000) + "\r\n.",
	} {
		want, wantInfo := byData(t, wire, DataOptions{})
		for cut := range min(len(wire), 40) + 1 {
			got, info := chunked(t, wire, DataOptions{}, cut, cut+1)
			if got != want || info != wantInfo {
				t.Errorf("%.100q cut at %d: %.100q, %+v, want %.100q, %+v", wire, cut, got, info, want, wantInfo)
			}
		}
		checkOutput(t, want)
	}
}

// What can't be written, or is too much, is read to the end of its chunk.
func TestA8ChunkReadOn(t *testing.T) {
	broken := errors.New("disk full")
	for _, tt := range []struct {
		dst   io.Writer
		limit int64
		big   bool
		err   error
	}{
		{io.Discard, 1000, true, nil},
		{failWriter{broken}, 0, false, broken},
	} {
		c := NewChunkReader(tt.dst, DataOptions{Limit: tt.limit})
		src := bufio.NewReader(strings.NewReader(strings.Repeat("0123456789\r\n", 10000) + "QUIT"))
		info, err := c.Read(src, 120000)
		rest, _ := io.ReadAll(src)
		if err != nil || info.TooBig != tt.big || info.WriteErr != tt.err || string(rest) != "QUIT" {
			t.Errorf("%+v, %v, left %q", info, err, rest)
		}
	}
}

// The end of the connection in a chunk, taken or dropped, is one in the middle.
func TestA8ChunkCut(t *testing.T) {
	src := bufio.NewReader(strings.NewReader("abc"))
	if _, err := NewChunkReader(io.Discard, DataOptions{}).Read(src, 4); err != io.ErrUnexpectedEOF {
		t.Errorf("taken: %v", err)
	}
	if err := DropChunk(bufio.NewReader(strings.NewReader("abc")), 4); err != io.ErrUnexpectedEOF {
		t.Errorf("dropped: %v", err)
	}
}

// FuzzChunks: the same octets by DATA and in any chunks are the same message, with the
// same sizes, and the octets behind them are left.
func FuzzChunks(f *testing.F) {
	f.Add("a\r\n.\r\n", 1, 2, 0)
	f.Add(".\r.\n\r", 3, 4, 1)
	f.Add("..\r\n\n.\n", 1, 6, 5)
	f.Fuzz(func(t *testing.T, octets string, a, b, limit int) {
		o := DataOptions{Limit: int64(max(limit, 0))}
		want, wantInfo := byData(t, octets, DataOptions{})
		if o.Limit > 0 && wantInfo.Size > o.Limit { // nothing is promised of what is stored
			if _, info := chunked(t, octets, o, a, b); !info.TooBig {
				t.Errorf("%q with at most %d: %+v", octets, o.Limit, info)
			}
			return
		}
		if got, info := chunked(t, octets, o, a, b); got != want || info != wantInfo {
			t.Errorf("%q: %q, %+v, want %q, %+v", octets, got, info, want, wantInfo)
		}
	})
}
