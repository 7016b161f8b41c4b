package smtp

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestA53ReadReply(t *testing.T) {
	for _, tt := range []struct {
		name, wire string
		want       Reply
		ok         bool
	}{
		{"plain", "250 ok\r\n", Reply{250, "", "ok"}, true},
		{"empty text", "250 \r\n", Reply{250, "", ""}, true},
		{"status", "550 5.1.1 no such user\r\n", Reply{550, "5.1.1", "no such user"}, true},
		{"status alone", "250 2.0.0\r\n", Reply{250, "2.0.0", ""}, true},
		{"status of another class", "250 5.1.1 odd\r\n", Reply{250, "", "5.1.1 odd"}, true},
		{"no status", "250 2.0 odd\r\n", Reply{250, "", "2.0 odd"}, true},
		{"a number too long", "250 2.0.1000 odd\r\n", Reply{250, "", "2.0.1000 odd"}, true},
		{"address, no status", "250 2.0.0.1 odd\r\n", Reply{250, "", "2.0.0.1 odd"}, true},
		{"three lines", "250-a\r\n250-\r\n250 c\r\n", Reply{250, "", "a\n\nc"}, true},
		{"status on each line", "550-5.7.1 a\r\n550 5.7.1 b\r\n", Reply{550, "5.7.1", "a\nb"}, true},
		{"status on the last line", "550-a\r\n550 5.7.1 b\r\n", Reply{550, "5.7.1", "a\nb"}, true},
		{"354", "354 3.0.0 go\r\n", Reply{354, "", "3.0.0 go"}, true},
		{"A61 controls", "550 a\rb\x1b[2J\x00c\r\n", Reply{550, "", "a?b?[2J?c"}, true},
		{"8-bit", "550 \xe9\r\n", Reply{550, "", "\xe9"}, true},
		{"no code", "ok\r\n", Reply{}, false},
		{"two digits", "25 x\r\n", Reply{}, false},
		{"four digits", "2500 x\r\n", Reply{}, false},
		{"1xx", "150 x\r\n", Reply{}, false},
		{"6xx", "650 x\r\n", Reply{}, false},
		{"letters", "2x0 x\r\n", Reply{}, false},
		{"two codes", "250-a\r\n550 b\r\n", Reply{}, false},
		{"bare code", "250\r\n", Reply{250, "", ""}, true},
		{"bare code behind lines", "250-a\r\n250\r\n", Reply{250, "", "a\n"}, true},
		{"a dash and nothing", "250-\r\n250 b\r\n", Reply{250, "", "\nb"}, true},
		{"TAB", "250\tx\r\n", Reply{}, false},
		{"LF alone", "250 x\n", Reply{250, "", "x"}, true},
		{"LF alone in the middle", "250-x\n250 y\r\n", Reply{250, "", "x\ny"}, true},
		{"bare code and LF alone", "550\n", Reply{550, "", ""}, true},
		{"CR CR LF", "250 x\r\r\n", Reply{250, "", "x?"}, true},
		{"empty line", "\r\n", Reply{}, false},
		{"empty", "", Reply{}, false},
		{"cut", "250 x", Reply{}, false},
		{"cut between lines", "250-x\r\n", Reply{}, false},
		{"100 lines", strings.Repeat("250-a\r\n", 99) + "250 a\r\n", Reply{250, "", strings.Repeat("a\n", 99) + "a"}, true},
		{"101 lines", strings.Repeat("250-a\r\n", 100) + "250 a\r\n", Reply{}, false},
		{"line of 2 KiB", "250 " + strings.Repeat("x", 2044) + "\r\n", Reply{250, "", strings.Repeat("x", 2044)}, true},
		{"line of 2 KiB + 1", "250 " + strings.Repeat("x", 2045) + "\r\n", Reply{250, "", strings.Repeat("x", 2044)}, true},
		{"line of 60 KiB", "250 " + strings.Repeat("x", 60<<10) + "\r\n", Reply{250, "", strings.Repeat("x", 2044)}, true},
		{"64 KiB", strings.Repeat("250-"+strings.Repeat("x", 1018)+"\r\n", 63) + "250 " + strings.Repeat("x", 1018) + "\r\n", Reply{250, "", strings.Repeat(strings.Repeat("x", 1018)+"\n", 63) + strings.Repeat("x", 1018)}, true},
		{"64 KiB + 1", strings.Repeat("250-"+strings.Repeat("x", 1018)+"\r\n", 63) + "250 " + strings.Repeat("x", 1019) + "\r\n", Reply{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{16, 4096, 1 << 17} {
				src := strings.NewReader(tt.wire + "220 next\r\n")
				r := bufio.NewReaderSize(iotest.HalfReader(src), size)
				if strings.HasPrefix(tt.name, "cut") || tt.wire == "" {
					r.Reset(strings.NewReader(tt.wire))
				}
				got, err := ReadReply(r)
				if got != tt.want || (err == nil) != tt.ok {
					t.Fatalf("%.200q: got %.200q, %v; want %.200q, ok %v", tt.wire, got, err, tt.want, tt.ok)
				}
				if next, err := ReadReply(r); tt.ok && (err != nil || next.Text != "next") {
					t.Errorf("%.200q: then got %v, %v", tt.wire, next, err)
				}
			}
		})
	}
}

// A reply without end costs 64 KiB of reading and no more.
func TestA53ReplyWithoutEnd(t *testing.T) {
	for _, unit := range []string{"x", "250-\r\n", "250-x", "\r", "\x00"} {
		src := &endless{unit: unit}
		_, err := ReadReply(bufio.NewReader(src))
		if !errors.Is(err, ErrReply) || src.n > 80<<10 {
			t.Errorf("%q for ever: %v after %d octets", unit, err, src.n)
		}
	}
}

type endless struct {
	unit string
	n    int
}

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = e.unit[e.n%len(e.unit)]
		e.n++
	}
	return len(b), nil
}

func TestReadReplyEnds(t *testing.T) {
	for _, s := range []string{"", "2", "250", "250 x", "250 x\r", "250-x\r\n"} {
		if _, err := ReadReply(bufio.NewReader(strings.NewReader(s))); err != io.ErrUnexpectedEOF {
			t.Errorf("%q: %v, want io.ErrUnexpectedEOF", s, err)
		}
	}
}

func TestA12Append(t *testing.T) {
	word := strings.Repeat("w", 99)
	for _, tt := range []struct {
		reply Reply
		want  string
	}{
		{Reply{250, "", "ok"}, "250 ok\r\n"},
		{Reply{250, "2.1.0", "ok"}, "250 2.1.0 ok\r\n"},
		{Reply{250, "", "h.example\nPIPELINING\nSIZE 10"}, "250-h.example\r\n250-PIPELINING\r\n250 SIZE 10\r\n"},
		{Reply{550, "5.1.1", "a\nb"}, "550-5.1.1 a\r\n550 5.1.1 b\r\n"},
		{Reply{250, "", ""}, "250 \r\n"},
		{Reply{500, "", "\x1b[2J \r \x00 \xc3\xa9 \x7f"}, "500 ?[2J ? ? ?? ?\r\n"},
		{Reply{500, "", strings.Repeat("x", 506)}, "500 " + strings.Repeat("x", 506) + "\r\n"},
		{Reply{500, "", strings.Repeat("x", 507)}, "500-" + strings.Repeat("x", 506) + "\r\n500 x\r\n"},
		{Reply{500, "5.0.0", strings.Repeat(word+" ", 6) + "z"},
			"500-5.0.0 " + strings.Repeat(word+" ", 4) + word + "\r\n500 5.0.0 " + word + " z\r\n"},
	} {
		got := string(tt.reply.Append(nil))
		if got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.reply, got, tt.want)
		}
		for line := range strings.SplitAfterSeq(got, "\r\n") {
			if len(line) > 512 {
				t.Errorf("%v: line of %d octets", tt.reply, len(line))
			}
		}
	}
}

func TestReplyString(t *testing.T) {
	for _, tt := range []struct {
		reply Reply
		want  string
	}{
		{Reply{}, "0"},
		{Reply{250, "2.0.0", "ok"}, "250 2.0.0 ok"},
		{Reply{550, "", "a\n\nb\x1b\u00e9"}, "550 a b???"},
	} {
		if got := tt.reply.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	if r := (Reply{Code: 451}); !r.Temporary() || r.Permanent() || r.IsZero() || r.Class() != 4 {
		t.Errorf("%v misjudged", r)
	}
}

// What a server said that is no reply is told in its words, once made harmless:
// whoever prints or logs it has nothing to escape again.
func TestErrReplySaysWhatCame(t *testing.T) {
	_, err := ReadReply(bufio.NewReader(strings.NewReader("what \x1b[2J \\ \"is\" this\r\n")))
	if want := `not an SMTP reply: "what ?[2J \ "is" this"`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
