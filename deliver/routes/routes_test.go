package routes

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/internal/smtp"
)

const text = `# who or what        where to
from:Me@Gmail.test.     submissions://me@gmail.test@smtp.gmail.test
from:@work.test         submission://me@work.test;auth=XOAUTH2@smtp.office.test
from:<>                 [192.0.2.9]:2525
example.org             mx.example.org
.example.org            local
deep.sub.example.org    [192.0.2.1]
gone.test               error that company is no more, write to us instead
[192.0.2.7]             hub.test
*                       relay.test:465

example.org             second.test
alone
x@y                     hub.test
from:me                 hub.test
from:@a@b               hub.test
other.test              submissions://me:geheim@hub.test
*                       local
from:a@b.test           local
err.test                error
two.test                a.test b.test
`

func open(t *testing.T, text string) (*Table, *bytes.Buffer) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "routes")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	return New(name, slog.New(slog.NewTextHandler(&log, nil))), &log
}

// TestFind: a sender's line comes before a domain's, that before the line of all.
func TestFind(t *testing.T) {
	r, log := open(t, text)
	for _, tt := range []struct{ from, domain, want string }{
		{"me@gmail.test", "example.org", "submissions://me@gmail.test@smtp.gmail.test"},
		{"ME@GMAIL.TEST", "gone.test", "submissions://me@gmail.test@smtp.gmail.test"},
		{"you@gmail.test", "example.org", "named mx.example.org"},
		{"you@Work.Test", "far.test", "submission://me@work.test;auth=XOAUTH2@smtp.office.test"},
		{"you@sub.work.test", "far.test", "submissions://relay.test"},
		{"", "far.test", "[192.0.2.9]:2525"},
		{"a@b.test", "Example.Org", "named mx.example.org"},
		{"a@b.test", "sub.example.org", "named local"},
		{"a@b.test", "any.sub.example.org", "named local"},
		{"a@b.test", "deep.sub.example.org", "named [192.0.2.1]"},
		{"a@b.test", "notexample.org", "submissions://relay.test"},
		{"a@b.test", "gone.test", "named error that company is no more, write to us instead"},
		{"a@b.test", "[192.0.2.7]", "named hub.test"},
		{"a@b.test", "other.test", "submissions://relay.test"},
	} {
		var p smtp.Path
		if tt.from != "" {
			var err error
			if p, err = smtp.ParseAddress(tt.from); err != nil {
				t.Fatal(err)
			}
		}
		w, named, ok := r.Find(p, tt.domain)
		got := w.Host.String()
		switch {
		case w.Local:
			got = "local"
		case w.Error != "":
			got = "error " + w.Error
		}
		if named {
			got = "named " + got
		}
		if !ok || got != tt.want {
			t.Errorf("from %q to %s: %q, %v; want %q", tt.from, tt.domain, got, ok, tt.want)
		}
		if _, ok := r.Domain(tt.domain); ok != (strings.HasPrefix(tt.want, "named") || tt.domain == "example.org" || tt.domain == "gone.test") {
			t.Errorf("%s is named: %v", tt.domain, ok)
		}
	}
	for line := 13; line <= 21; line++ {
		if n := strings.Count(log.String(), "routes:"+string(rune('0'+line/10))+string(rune('0'+line%10))); n != 1 {
			t.Errorf("line %d is told %d times", line, n)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 9 || strings.Contains(log.String(), "geheim") {
		t.Errorf("%d lines told:\n%s", n, log)
	}
}

// TestNone: without a file, or a line, nothing changes.
func TestNone(t *testing.T) {
	empty, _ := open(t, "")
	for _, r := range []*Table{New("", nil), empty} {
		if _, _, ok := r.Find(smtp.Path{Local: "a", Domain: "b.test"}, "c.test"); ok {
			t.Error("a line")
		}
		if _, ok := r.Domain("c.test"); ok {
			t.Error("a line of a domain")
		}
	}
}

// FuzzParse: what is read has one meaning, and each line has one or is told.
func FuzzParse(f *testing.F) {
	f.Add(text)
	f.Add("from:\"a b\"@c.test hub.test\n. local")
	f.Fuzz(func(t *testing.T, text string) {
		told := 0
		l := parse(text, func(int, string) { told++ })
		for key, w := range l {
			if w.Local && w.Error != "" || key == "" || strings.ContainsRune(w.Error, 0) {
				t.Errorf("%q: %+v", key, w)
			}
		}
		if lines := strings.Count(text, "\n") + 1; told > lines || told > maxWrong {
			t.Errorf("%d of %d lines told", told, lines)
		}
	})
}
