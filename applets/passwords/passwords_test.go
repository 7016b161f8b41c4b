package passwords

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const text = `# at my provider's
smtp.example  me@example.org   pass word with  blanks
SMTP.Example. other	tab	within

[192.0.2.1] u a
2001:db8::1 u b
smtp.example empty
smtp.example twice first
smtp.example twice second
b` + "\u00fc" + `cher.example u c`

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestMark: a byte order mark is no part of the first host.
func TestMark(t *testing.T) {
	s := NewSource(Options{File: write(t, "\ufeff2001:db8::1 me secret\r\n", 0o600)})
	if got, err := s.Password(t.Context(), "2001:db8::1", "me", false); got != "secret" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPassword(t *testing.T) {
	s := NewSource(Options{File: write(t, text, 0o600)})
	for _, tt := range []struct{ host, user, want string }{
		{"smtp.example", "me@example.org", "pass word with  blanks"},
		{"smtp.example", "other", "tab\twithin"},
		{"192.0.2.1", "u", "a"},
		{"2001:db8::1", "u", "b"},
		{"xn--bcher-kva.example", "u", "c"},
		{"smtp.example", "twice", "first"},
		{"smtp.example", "empty", "error: no password behind host and user"},
		{"smtp.example", "Me@example.org", "error: add \"smtp.example Me@example.org PASSWORD\""},
		{"mx.example", "other", "error: has no line for them"},
		{"#", "at", "error: has no line for them"},
	} {
		got, err := s.Password(t.Context(), tt.host, tt.user, false)
		if want, bad := strings.CutPrefix(tt.want, "error: "); bad && (err == nil || !strings.Contains(err.Error(), want)) || !bad && (err != nil || got != want) {
			t.Errorf("%s at %s: %q, %v; want %q", tt.user, tt.host, got, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "pass word") {
			t.Errorf("a password is told: %v", err)
		}
	}
}

// TestWrongFile: what others may open is not used, and each refusal says what to do.
func TestWrongFile(t *testing.T) {
	for _, tt := range []struct {
		name string
		file func() string
		want string
	}{
		{"missing", func() string { return filepath.Join(t.TempDir(), "none") }, "make it with mode 0600"},
		{"for all to read", func() string { return write(t, text, 0o644) }, "chmod 600"},
		{"for a group to read", func() string { return write(t, text, 0o640) }, "chmod 600"},
		{"for all to write", func() string { return write(t, text, 0o602) }, "chmod 600"},
		{"a directory", t.TempDir, "no regular file"},
		{"too big", func() string { return write(t, strings.Repeat("#\n", maxFile), 0o600) }, "more than"},
		{"too long", func() string { return write(t, "h u "+strings.Repeat("x", maxPassword+1), 0o600) }, "want at most"},
		{"a FIFO that nobody writes", func() string {
			name := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
			return name
		}, "no regular file"},
	} {
		got, err := find(tt.file(), "h", "u", os.Geteuid())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
	name := write(t, "h u p", 0o600)
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if me := int(info.Sys().(*syscall.Stat_t).Uid); me != 0 {
		if why := wrong(name, info, me+1); !strings.Contains(why, "chown root") {
			t.Errorf("somebody else's: %q", why)
		}
	}
}

// TestAnew: the file may change at any time, and so may the option.
func TestAnew(t *testing.T) {
	name := write(t, "h u one", 0o600)
	s := NewSource(Options{File: name})
	for _, want := range []string{"one", "two"} {
		if got, err := s.Password(t.Context(), "h", "u", false); got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
		if err := os.WriteFile(name, []byte("h u two"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.Use(Options{File: write(t, "h u three", 0o600)})
	if got, err := s.Password(t.Context(), "h", "u", false); got != "three" {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzFile: a password is what stands in the line of its host and user, and nothing else.
func FuzzFile(f *testing.F) {
	f.Add("h u p\n", "h", "u")
	f.Add("# h u p\n\th  u\tp q\n", "h", "u")
	f.Fuzz(func(t *testing.T, text, host, user string) {
		got, err := find(write(t, text, 0o600), host, user, os.Geteuid())
		if err == nil && (got == "" || strings.TrimSpace(got) != got || !strings.Contains(text, user) || !strings.Contains(text, got)) {
			t.Errorf("%q at %q in %q: %q", user, host, text, got)
		}
	})
}
