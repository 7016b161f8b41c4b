package user

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"postoffice/deliver/local"
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
		make        func(p *fixture, path string)
	}{
		{"symbolic link", "symbolic link", func(p *fixture, path string) { must(t, os.Symlink(p.path("target"), path)) }},
		{"link to nothing", "symbolic link", func(p *fixture, path string) { must(t, os.Symlink(p.path("new"), path)) }},
		{"hard link", "2 links", func(p *fixture, path string) { must(t, os.Link(p.path("target"), path)) }},
		{"FIFO", "not a regular file", func(_ *fixture, path string) { must(t, syscall.Mkfifo(path, 0o666)) }},
		{"directory", "not a regular file", func(_ *fixture, path string) { must(t, os.Mkdir(path, 0o777)) }},
		{"link to a device", "symbolic link", func(_ *fixture, path string) { must(t, os.Symlink("/dev/null", path)) }},
		{"executable", "executable", func(_ *fixture, path string) { write(t, path, ""); must(t, os.Chmod(path, 0o700)) }},
	} {
		p := newUser(t, nil)
		write(t, p.path("target"), secret)
		tt.make(p, p.path("copy"))
		wants(t, tt.name, p.run(p.alias(p.path("copy"))), "deferred", "4.2.0", tt.words)
		if p.file("target") != secret || p.file("new") != "" {
			t.Errorf("%s: something was written", tt.name)
		}
	}
	p := newUser(t, nil)
	wants(t, "root's file", p.run(p.alias(`"`+dir+`/root's"`)), "deferred", "4.2.0", "belongs to uid 0")
	wants(t, "root's directory", p.run(p.alias(dir+"/new")), "deferred", "4.2.0", "permission denied")
	wants(t, "a device", p.run(p.alias("/dev/zero")), "deferred", "4.2.0", "not a regular file")
	wants(t, "a directory that is not there", p.run(p.alias(p.path("x/y"))), "deferred", "4.2.0", "no such file")
	wants(t, "/dev/null", p.run(p.alias("/dev/null")), "delivered", "2.0.0", "")
	for _, i := range []local.Item{p.alias(p.path("copy")), p.forwardText(p.path("copy"))} {
		wants(t, "a file", p.run(i), "delivered", "2.0.0", "")
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
	p := newUser(t, nil)
	target := p.path("mail") + "/"
	for n := 1; n <= 2; n++ {
		wants(t, "Maildir", p.runBody(p.forwardText(target), "From a\nSubject: x\n\ntext\n"), "delivered", "2.0.0", "a Maildir")
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
	wants(t, "a link", p.run(p.forwardText(p.path("link")+"/")), "deferred", "4.2.0", "is a link")
	wants(t, "a file", p.run(p.forwardText(p.path(".forward")+"/")), "deferred", "4.2.0", "no directory")
	wants(t, "no place", p.run(p.forwardText(p.path("x/y")+"/")), "deferred", "4.2.0", "no such file")
	wants(t, "the root directory", p.run(p.forwardText("/")), "deferred", "4.3.5", "has the octet")
	if left, _ := os.ReadDir(target + "tmp"); len(left) > 0 {
		t.Errorf("left in tmp/: %v", left)
	}
}

// TestEscapeFromR60: what a program and a file get of a message with lines that
// look like a From_ line, also its first and its last.
func TestEscapeFromR60(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	const plain, quoted = "\n\nFrom first\nmiddle\n>From quoted\nFrom last\n", "\n\n>From first\nmiddle\n>>From quoted\n>From last\n"
	for _, tt := range []struct {
		escape        local.Escape
		program, file string
	}{{local.EscapeFiles, plain, quoted}, {local.EscapeAll, quoted, quoted}, {local.EscapeNone, plain, plain}} {
		p := newUser(t, func(o *Options) { o.Escape = tt.escape })
		var b strings.Builder
		o := local.FormatOptions{Form: local.FormProgram, Escape: tt.escape}
		must(t, local.Format(&b, o, strings.NewReader("From first\nmiddle\n>From quoted\nFrom last")))
		wants(t, "program", p.runBody(p.alias(`"|cat > copied"`), b.String()), "delivered", "2.0.0", "")
		wants(t, "file", p.runBody(p.alias(p.path("copy")), b.String()), "delivered", "2.0.0", "")
		got := p.file("copied")
		if !strings.HasSuffix(got, tt.program) || !strings.HasPrefix(got, "From <> ") {
			t.Errorf("escape %v: the program got %q, want at its end %q", tt.escape, got, tt.program)
		}
		if want := strings.TrimSuffix(got, tt.program) + tt.file + "\n"; p.file("copy") != want {
			t.Errorf("escape %v: the file has %q, want %q", tt.escape, p.file("copy"), want)
		}
	}
}
