package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postoffice/internal/disk"
	"postoffice/internal/disk/crashfs"
	"postoffice/internal/smtp"
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
		got, err := appendDrop(nil, d)
		if err != nil || string(got) != tt.want {
			t.Errorf("%q, %v; want %q", got, err, tt.want)
		}
		back, at, err := decodeDrop(strings.NewReader(tt.want+dropBody), int64(len(tt.want)+len(dropBody)))
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
		{"too many", dropTo(strings.Fields(strings.Repeat("bob ", maxDropTo+1))...), dropBody},
		{"too long", dropTo(strings.Fields(strings.Repeat(strings.Repeat("x", 60)+"@"+strings.Repeat("y.", 20)+"example ", 900))...), dropBody},
		{"null", dropTo(""), dropBody},
		{"parameter that ends the line", Drop{Params: []smtp.Param{{Name: "RET", Value: "x\r\nRCPT TO:<root>"}}, Recipients: dropTo("bob").Recipients}, dropBody},
		{"line end", dropTo("bob\nto <root>@x"), dropBody},
		{"too big", dropTo("bob"), strings.Repeat("x", 101)},
	} {
		f := crashfs.New()
		f.MkdirAll("/m", maildropMode)
		dir, err := f.OpenDir("/m")
		must(t, err)
		if err := tt.d.Leave(dir, strings.NewReader(tt.body), 100); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", tt.name, err)
		}
		for name := range dir.Names() {
			t.Errorf("%s: %s stays", tt.name, name)
		}
	}
}

// TestDropBlind leaves a message through a handle that can list nothing.
func TestDropBlind(t *testing.T) {
	where := t.TempDir()
	must(t, os.Chmod(where, 0o733|os.ModeSticky|os.ModeSetgid))
	dir, err := disk.OpenBlind(where)
	must(t, err)
	defer dir.Close()
	if !IsMaildrop(dir) {
		t.Error("a directory with the mode of a maildrop/ is none")
	}
	must(t, dropTo("bob").Leave(dir, strings.NewReader(dropBody), 0))
	all, err := os.ReadDir(where)
	must(t, err)
	if len(all) != 1 || strings.HasPrefix(all[0].Name(), dropUnfinished) {
		t.Fatalf("there are %v, want one message", all)
	}
	info, err := all[0].Info()
	must(t, err)
	if info.Mode() != dropMode {
		t.Errorf("mode %v, want %o", info.Mode(), dropMode)
	}
	b, err := os.ReadFile(filepath.Join(where, all[0].Name()))
	must(t, err)
	if want := "postoffice drop 1\nto <bob>\n\n" + dropBody; string(b) != want {
		t.Errorf("%q, want %q", b, want)
	}
	must(t, os.Chmod(where, 0o777))
	if IsMaildrop(dir) {
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
	q := reopenDrops(t, fs)
	defer q.Close()
	n := 0
	for name, err := range q.maildrop.Names() {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, dropUnfinished) {
			continue
		}
		n++
		f, err := q.maildrop.Open(name, disk.ReadOnly)
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
		d, at, err := decodeDrop(strings.NewReader(in), int64(len(in)))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%q: %v, want ErrCorrupt", in, err)
			}
			return
		}
		again, err := appendDrop(nil, d)
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
