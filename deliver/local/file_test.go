package local

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestFilesA48B48: the file of an alias is a regular one of the user's, or
// /dev/null.
func TestFilesA48B48(t *testing.T) {
	dir, done := asUser(t, func(dir string) {
		write(t, dir+"/root's", "secret\n")
		must(t, os.Chmod(dir+"/root's", 0o666))
	})
	if done {
		return
	}
	const secret = "secret\n"
	for _, tt := range []struct {
		name, words string
		make        func(p *person, path string)
	}{
		{"symbolic link", "symbolic link", func(p *person, path string) { must(t, os.Symlink(p.path("target"), path)) }},
		{"link to nothing", "symbolic link", func(p *person, path string) { must(t, os.Symlink(p.path("new"), path)) }},
		{"hard link", "2 links", func(p *person, path string) { must(t, os.Link(p.path("target"), path)) }},
		{"FIFO", "not a regular file", func(_ *person, path string) { must(t, syscall.Mkfifo(path, 0o666)) }},
		{"directory", "not a regular file", func(_ *person, path string) { must(t, os.Mkdir(path, 0o777)) }},
		{"link to a device", "symbolic link", func(_ *person, path string) { must(t, os.Symlink("/dev/null", path)) }},
		{"executable", "executable", func(_ *person, path string) { write(t, path, ""); must(t, os.Chmod(path, 0o700)) }},
	} {
		p := newPerson(t, nil)
		write(t, p.path("target"), secret)
		tt.make(p, p.path("copy"))
		wants(t, tt.name, p.run(p.alias(p.path("copy"))), Deferred, "4.2.0", tt.words)
		if p.file("target") != secret || p.file("new") != "" {
			t.Errorf("%s: something was written", tt.name)
		}
	}
	p := newPerson(t, nil)
	wants(t, "root's file", p.run(p.alias(`"`+dir+`/root's"`)), Deferred, "4.2.0", "belongs to uid 0")
	wants(t, "root's directory", p.run(p.alias(dir+"/new")), Deferred, "4.2.0", "permission denied")
	wants(t, "a device", p.run(p.alias("/dev/zero")), Deferred, "4.2.0", "not a regular file")
	wants(t, "a directory that is not there", p.run(p.alias(p.path("x/y"))), Deferred, "4.2.0", "no such file")
	wants(t, "/dev/null", p.run(p.alias("/dev/null")), Delivered, "2.0.0", "")
	for _, i := range []Item{p.alias(p.path("copy")), p.forwardText(p.path("copy"))} {
		wants(t, "a file", p.run(i), Delivered, "2.0.0", "")
	}
	if got := p.file("copy"); got != strings.Repeat("From a\n\nx\n\n", 2) || mode(t, p.path("copy")) != 0o600 {
		t.Errorf("%q, mode %v", got, mode(t, p.path("copy")))
	}
}

// TestMaildirTarget: a path with a slash behind it is a Maildir, as with other
// mail servers.
func TestMaildirTarget(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newPerson(t, nil)
	target := p.path("mail") + "/"
	for n := 1; n <= 2; n++ {
		wants(t, "Maildir", p.runBody(p.forwardText(target), "From a\nSubject: x\n\ntext\n"), Delivered, "2.0.0", "a Maildir")
		names, err := os.ReadDir(target + "new")
		if err != nil || len(names) != n {
			t.Fatalf("%d messages, %v, want %d", len(names), err, n)
		}
		for _, name := range names {
			if got := p.file("mail/new/" + name.Name()); got != "Subject: x\n\ntext\n" {
				t.Errorf("message %q", got)
			}
		}
	}
	must(t, os.Symlink("mail", p.path("link")))
	wants(t, "a link", p.run(p.forwardText(p.path("link")+"/")), Deferred, "4.2.0", "is a link")
	wants(t, "a file", p.run(p.forwardText(p.path(".forward")+"/")), Deferred, "4.2.0", "no directory")
	wants(t, "no place", p.run(p.forwardText(p.path("x/y")+"/")), Deferred, "4.2.0", "no such file")
	wants(t, "the root directory", p.run(p.forwardText("/")), Deferred, "4.3.5", "has the octet")
	if left, _ := os.ReadDir(target + "tmp"); len(left) > 0 {
		t.Errorf("left in tmp/: %v", left)
	}
}

// TestFullFileB43: a file that can't take the message whole is as it was.
func TestFullFileB43(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newPerson(t, nil)
	f := &faults{FS: p.o.FS}
	p.o.Files.o.FS = f
	i := p.alias(p.path("copy"))
	wants(t, "before", p.run(i), Delivered, "2.0.0", "")
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO} {
		f.write = func(p []byte) (int, error) { return len(p) / 2, errno }
		r := p.run(i)
		if r.Status != Deferred || !strings.Contains(fmt.Sprint(r.Err), errno.Error()) || p.file("copy") != "From a\n\nx\n\n" {
			t.Errorf("%v: %v %v %v, file %q", errno, r.Status, r.Reply, r.Err, p.file("copy"))
		}
	}
	f.write = nil
	wants(t, "after", p.run(i), Delivered, "2.0.0", "")
}

// TestEscapeFromR60: what a program and a file get of a message with lines that
// look like a From_ line, also its first and its last.
func TestEscapeFromR60(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newPerson(t, nil)
	for _, escape := range []bool{false, true} {
		sign := ""
		if escape {
			sign = ">"
		}
		os.Remove(p.path("copy"))
		var b strings.Builder
		o := FormatOptions{Form: FormProgram, Time: deliveryTime, EscapeFrom: escape}
		must(t, Format(&b, o, strings.NewReader("From first\nmiddle\n>From quoted\nFrom last")))
		wants(t, "program", p.runBody(p.alias(`"|cat > copied"`), b.String()), Delivered, "2.0.0", "")
		wants(t, "file", p.runBody(p.alias(p.path("copy")), b.String()), Delivered, "2.0.0", "")
		want := "\n\n" + sign + "From first\nmiddle\n" + sign + ">From quoted\n" + sign + "From last\n"
		if got := p.file("copied"); !strings.HasSuffix(got, want) || !strings.HasPrefix(got, "From <> ") {
			t.Errorf("escape %v: the program got %q, want at its end %q", escape, got, want)
		}
		if got := p.file("copy"); got != p.file("copied")+"\n" {
			t.Errorf("escape %v: the file has %q", escape, got)
		}
	}
}
