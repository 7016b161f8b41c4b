package maildrop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

const dropBody = "Subject: left\n\nhello\n"

func dropTo(to ...string) Drop {
	var d Drop
	for _, s := range to {
		d.Recipients = append(d.Recipients, smtp.Recipient{Path: path(s)})
	}
	return d
}

// TestDropForm shows the file that spool(5) shows.
func TestDropForm(t *testing.T) {
	from := path("alice@example.org")
	d := dropTo("bob", "carol@example.net")
	d.Params = []smtp.Param{{Name: "RET", Value: "HDRS"}, {Name: "XQUEUE"}}
	d.Recipients[1].Params = []smtp.Param{{Name: "NOTIFY", Value: "DELAY,FAILURE"}}
	for _, tt := range []struct {
		from *smtp.Path
		want string
	}{
		{nil, "postoffice drop 1\nwith RET=HDRS XQUEUE\nto <bob>\nto <carol@example.net> NOTIFY=DELAY,FAILURE\n\n"},
		{&from, "postoffice drop 1\nfrom <alice@example.org>\nwith RET=HDRS XQUEUE\nto <bob>\nto <carol@example.net> NOTIFY=DELAY,FAILURE\n\n"},
		{&smtp.Path{}, "postoffice drop 1\nfrom <>\nwith RET=HDRS XQUEUE\nto <bob>\nto <carol@example.net> NOTIFY=DELAY,FAILURE\n\n"},
	} {
		d.ReversePath = tt.from
		got, err := d.encode(nil)
		if err != nil || string(got) != tt.want {
			t.Errorf("%q, %v; want %q", got, err, tt.want)
		}
		back, at, err := decode(strings.NewReader(tt.want+dropBody), int64(len(tt.want)+len(dropBody)))
		if err != nil || at != int64(len(tt.want)) || !cmp.Equal(back, d) {
			t.Errorf("%q reads as %+v, message at %d, %v", tt.want, back, at, err)
		}
	}
}

// TestDropRefused: what couldn't be submitted isn't left, and nothing of it stays.
func TestDropRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		d    Drop
		body string
	}{
		{"nobody", dropTo(), dropBody},
		{"too many", dropTo(strings.Fields(strings.Repeat("bob ", maxRecipients+1))...), dropBody},
		{"too long", Drop{Recipients: slices.Repeat([]smtp.Recipient{{Path: path("bob"), Params: []smtp.Param{{Name: "ORCPT", Value: strings.Repeat("x", 60<<10)}}}}, maxEnvelope/(60<<10))}, dropBody},
		{"too long a line", Drop{Recipients: []smtp.Recipient{{Path: path("bob"), Params: []smtp.Param{{Name: "ORCPT", Value: strings.Repeat("x", maxLine)}}}}}, dropBody},
		{"more parameters than there are", Drop{Recipients: []smtp.Recipient{{Path: path("bob"), Params: paramsOf(3)}}}, dropBody},
		{"more parameters of MAIL", Drop{Params: paramsOf(maxOfMail + 1), Recipients: dropTo("bob").Recipients}, dropBody},
		{"null", dropTo(""), dropBody},
		{"parameter that ends the line", Drop{Params: []smtp.Param{{Name: "RET", Value: "x\r\nRCPT TO:<root>"}}, Recipients: dropTo("bob").Recipients}, dropBody},
		{"line end", dropTo("bob\nto <root>@x"), dropBody},
		{"too big", dropTo("bob"), strings.Repeat("x", 101)},
	} {
		f := crashfs.New()
		f.MkdirAll("/m", mode)
		dir, err := f.OpenDir("/m")
		must(t, err)
		if err := tt.d.Leave(dir, strings.NewReader(tt.body), 100); !errors.Is(err, envelope.ErrInvalid) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v, want ErrInvalid or ErrTooLarge", tt.name, err)
		}
		for name := range dir.Names() {
			t.Errorf("%s: %s stays", tt.name, name)
		}
	}
}

func paramsOf(n int) (params []smtp.Param) {
	for i := range n {
		params = append(params, smtp.Param{Name: fmt.Sprint("X", i)})
	}
	return params
}

// TestDropMemory: the longest envelopes that somebody can leave, whatever is in
// them, take a bounded part of the server's memory, and each line a bounded time.
func TestDropMemory(t *testing.T) {
	lines, most := maxRecipients, int64(128<<20) // octets
	if testing.Short() {
		lines, most = lines/16, most/16
	}
	for _, tt := range []struct {
		name string
		line func(i int) string
		fits bool
	}{
		{"short names", func(i int) string { return fmt.Sprintf("to <%x@two.test>\n", i) }, true},
		{"parameters", func(i int) string { return fmt.Sprintf("to <%x> NOTIFY=NEVER ORCPT=rfc822;%x\n", i, i) }, true},
		{"long names", func(i int) string { return fmt.Sprintf("to <%x%s@%x.example>\n", i, strings.Repeat("x", 34), i) }, true},
		{"many parameters", func(i int) string {
			return "to <a>" + strings.Repeat(" A B C D E F G H I J K L M N O P Q R S T U V W X Y Z", 500) + "\n"
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			b.WriteString(firstLine)
			n := 0
			for line := tt.line(0); n < lines && b.Len()+len(line) < maxEnvelope; n++ {
				b.WriteString(line)
				line = tt.line(n + 1)
			}
			b.WriteString("\n" + dropBody)
			file := strings.NewReader(b.String())
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			d, _, err := decode(file, file.Size())
			runtime.GC()
			runtime.ReadMemStats(&after)
			if (err == nil) != tt.fits || err == nil && len(d.Recipients) != n {
				t.Fatalf("%d of %d recipients, %v", len(d.Recipients), n, err)
			}
			got := int64(after.HeapAlloc) - int64(before.HeapAlloc)
			t.Logf("%d lines, %d octets: %d octets of memory", n, file.Size(), got)
			if got > most {
				t.Errorf("%d octets of memory, want at most %d", got, most)
			}
			runtime.KeepAlive(d)
			runtime.KeepAlive(file)
		})
	}
}

// TestDropBlind leaves a message through a handle that can list nothing.
func TestDropBlind(t *testing.T) {
	where := t.TempDir()
	must(t, os.Chmod(where, 0o733|os.ModeSticky|os.ModeSetgid))
	dir, err := disk.OpenBlind(where)
	must(t, err)
	defer dir.Close()
	if !Is(dir) {
		t.Error("a directory with the mode of a maildrop/ is none")
	}
	must(t, dropTo("bob").Leave(dir, strings.NewReader(dropBody), 0))
	all, err := os.ReadDir(where)
	must(t, err)
	if len(all) != 1 || strings.HasPrefix(all[0].Name(), unfinished) {
		t.Fatalf("there are %v, want one message", all)
	}
	info, err := all[0].Info()
	must(t, err)
	if info.Mode() != fileMode {
		t.Errorf("mode %v, want %o", info.Mode(), fileMode)
	}
	b, err := os.ReadFile(filepath.Join(where, all[0].Name()))
	must(t, err)
	if want := "postoffice drop 1\nto <bob>\n\n" + dropBody; string(b) != want {
		t.Errorf("%q, want %q", b, want)
	}
	must(t, os.Chmod(where, 0o777))
	if Is(dir) {
		t.Error("a directory that anybody may list is a maildrop/")
	}
}

// leaving is a sendmail without a server.
func leaving(fs disk.FS, ack func(string)) error {
	dir, err := fs.OpenDir("/q/maildrop")
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dropTo("bob").Leave(dir, strings.NewReader(dropBody), 0); err != nil {
		return err
	}
	ack("left")
	return nil
}

// checkLeft: what has a name that counts is whole, and what was acknowledged is
// there.
func checkLeft(t testing.TB, fs disk.FS, acked []string) {
	_, m := reopen(t, fs)
	n := 0
	for name, err := range m.dir.Names() {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, unfinished) {
			continue
		}
		n++
		f, err := m.dir.Open(name, disk.ReadOnly)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(io.NewSectionReader(f, 0, info.Size))
		if want := "postoffice drop 1\nto <bob>\n\n" + dropBody; err != nil || string(b) != want {
			t.Errorf("%s: %q, %v; want %q", name, b, err, want)
		}
		f.Close()
	}
	if n < len(acked) || n > 1 {
		t.Errorf("%d messages lie there, %d were acknowledged", n, len(acked))
	}
}

// TestCrashLeave: exit code 0 means that file and name are durable (A28, A29).
func TestCrashLeave(t *testing.T) {
	run := crashfs.Run{Prepare: func(f *crashfs.FS) {
		f.SetClock(still)
		makeMaildrop(f)
	}}
	run.EveryStep(t, leaving, checkLeft)
	run.EveryError(t, leaving, checkLeft)
	run.EveryRoom(t, leaving, checkLeft)
}

// FuzzDrop: what is read as an envelope is written the same, each of its
// addresses can be said in SMTP, and the message behind it is what follows.
func FuzzDrop(f *testing.F) {
	for _, s := range []string{
		"postoffice drop 1\nto <bob>\n\nx", "postoffice drop 1\nfrom <>\nto <\"a b\"@x>\n\n", "postoffice drop 1\nfrom <a@b>\n\n",
		"postoffice drop 1\nto <bob>\nfrom <x>\n\n", "postoffice drop 1\nto <a\\x0ab>\n\n", "postoffice drop 1\nwith RET=HDRS XQUEUE\nto <b> NOTIFY=NEVER\n\n", "postoffice drop 1\nwith X=\"a b\"\nto <b>\n\n", "postoffice drop 2\n\n", "root:*:1:\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		d, at, err := decode(strings.NewReader(in), int64(len(in)))
		if err != nil {
			if !errors.Is(err, ErrNever) {
				t.Errorf("%q: %v, want ErrNever", in, err)
			}
			return
		}
		again, err := d.encode(nil)
		if err != nil || string(again) != in[:at] {
			t.Errorf("%q reads as %+v, which is %q, %v", in[:at], d, again, err)
		}
		for _, r := range d.Recipients {
			wire := fmt.Sprint(r.Path, r.Params, d.Params)
			if r.Path.IsNull() || strings.ContainsAny(wire, "\r\n\x00") {
				t.Errorf("%q holds recipient %q", in, wire)
			}
		}
	})
}

// counted counts the writes to a file.
type counted struct {
	disk.File
	writes int
}

func (c *counted) Write(p []byte) (int, error) { c.writes++; return c.File.Write(p) }

// lines gives a line at each read.
type lines struct{ left []byte }

func (l *lines) Read(p []byte) (int, error) {
	if len(l.left) == 0 {
		return 0, io.EOF
	}
	line := l.left[:bytes.IndexByte(l.left, '\n')+1]
	n := copy(p, line)
	l.left = l.left[n:]
	return n, nil
}

// TestDropWrites: a message that comes line by line is not written so.
func TestDropWrites(t *testing.T) {
	f := crashfs.New()
	f.MkdirAll("/m", mode)
	dir, err := f.OpenDir("/m")
	must(t, err)
	text := bytes.Repeat([]byte(strings.Repeat("x", 63)+"\n"), 1<<14) // 1 MiB
	for i, limit := range []int64{0, 2 << 20} {
		file, err := dir.Create(fmt.Sprint(i), 0o600)
		must(t, err)
		c := &counted{File: file}
		must(t, fill(c, []byte("head\n\n"), &lines{text}, limit))
		if most := len(text)/bufferSize + 1; c.writes > most {
			t.Errorf("limit %d: %d writes, want %d", limit, c.writes, most)
		}
		must(t, file.Close())
	}
}
