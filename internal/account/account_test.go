package account

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const passwdText = `root:x:0:0:root:/root:/bin/sh
# a comment
alice:x:1001:1001:Alice,,,:/home/alice:/bin/bash
Orc:x:1002:1002::/home/orc:
orc:x:1003:1003::/home/orc2:
Orc:x:1004:1004::/second:
BOB:x:1005:100::/home/bob:/bin/sh
bad:x:-1:5::/:
bad2:x:4294967295:5::/:
+nis::::::
toor:x:0:0::/root:
`

func TestLookupR14A15(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	write(t, path, passwdText)
	p := Passwd(path)
	for _, tt := range []struct {
		name, account string
		uid           int
	}{
		{"alice", "alice", 1001},
		{"ALICE", "alice", 1001},
		{"Orc", "Orc", 1002}, // as given
		{"orc", "orc", 1003},
		{"oRC", "Orc", 1002}, // without case: the first
		{"bob", "BOB", 1005},
		{"root", "root", 0},
		{"al\u0131ce", "", 0}, // dotless i is no i
		{"ＡLICE", "", 0},
		{"bad", "", 0},
		{"bad2", "", 0},
		{"+nis", "", 0},
		{"", "", 0},
		{"0", "", 0},
		{"../alice", "", 0},
		{"alice ", "", 0},
	} {
		a, err := p.Lookup(t.Context(), tt.name)
		if tt.account == "" {
			if !errors.Is(err, ErrNoUser) {
				t.Errorf("%q: %+v, %v, want ErrNoUser", tt.name, a, err)
			}
			continue
		}
		if err != nil || a.Name != tt.account || a.UID != tt.uid {
			t.Errorf("%q: %+v, %v, want %s, uid %d", tt.name, a, err, tt.account, tt.uid)
		}
	}
}

func TestPasswdChangesA36(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	p := Passwd(path)
	alice := "alice:x:1001:1001::/home/alice:/bin/sh\n"
	for i, tt := range []struct {
		text string // "-": no file
		want string // "ok", "none", "later"
	}{
		{"-", "later"},
		{alice, "ok"},
		{"bob" + alice[5:], "none"},
		{"-", "later"},
		{alice + "carol:x:1", "later"}, // cut in the middle
		{strings.TrimSuffix(alice, "\n"), "ok"},
		{"", "later"},
		{alice, "ok"},
	} {
		if tt.text == "-" {
			os.Remove(path)
		} else {
			write(t, path+".new", tt.text)
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}
		_, err := p.Lookup(t.Context(), "alice")
		got := "later"
		if err == nil {
			got = "ok"
		} else if errors.Is(err, ErrNoUser) {
			got = "none"
		}
		if got != tt.want {
			t.Errorf("step %d, file %q: %s (%v), want %s", i, tt.text, got, err, tt.want)
		}
	}
}

func TestOnly(t *testing.T) {
	o := Only(Account{Name: "alice", UID: 1001})
	for _, name := range []string{"alice", "Alice"} {
		if a, err := o.Lookup(t.Context(), name); err != nil || a.UID != 1001 {
			t.Errorf("%q: %+v, %v", name, a, err)
		}
	}
	_, err := o.Lookup(t.Context(), "bob")
	if !errors.Is(err, ErrNoUser) || !strings.Contains(err.Error(), "runs as alice") {
		t.Errorf("bob: %v, want ErrNoUser with the reason", err)
	}
}

func TestCheckNameA19A20(t *testing.T) {
	long := strings.Repeat("a", MaxName)
	for _, name := range []string{"alice", "a.b", "web-data", "DOM\\user", "jörg", "x.locked", long} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", ".x", "-x", "a/b", "../x", "a\x00", "a\nb", "a:b", "a\x7f", "alice.lock", ".lock", long + "a"} {
		if CheckName(name) == nil {
			t.Errorf("%q passed", name)
		}
	}
}

// FuzzPasswd: an entry that is found is a whole line of the file.
func FuzzPasswd(f *testing.F) {
	f.Add(passwdText, "alice")
	f.Add("a:b:1:2:c:d:e", "A")
	f.Fuzz(func(t *testing.T, text, name string) {
		u, err := parsePasswd([]byte(text))
		if err != nil {
			return
		}
		for spelt, a := range u.exact {
			if spelt != a.Name || a.UID < 0 || a.GID < 0 || !strings.Contains("\n"+text, fmt.Sprintf("\n%s:", a.Name)) {
				t.Errorf("%q gave %+v", text, a)
			}
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestPasswdSameText: a file that was changed a moment ago is read for each question, since
// it may change unseen, and what is the same is not made anew.
func TestPasswdSameText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	p := &passwd{path: path}
	reading := func(text string) *users {
		t.Helper()
		if text != "" {
			write(t, path, text)
		}
		u, err := p.current()
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	first := reading("alice:x:1001:1001::/home/alice:/bin/sh\n")
	if reading("") != first {
		t.Error("the same text makes other users")
	}
	if reading("carol:x:1001:1001::/home/carol:/bin/sh\n") == first {
		t.Error("another text makes the same users")
	}
}
