package vhost

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestLogins: what a line has for logins, in each form, and how many can't do SCRAM.
func TestLogins(t *testing.T) {
	dir := newDir(t, "owner:v.example:1:\nowner:off.example:0:\n", "# comment\nalice:$6$x$y\nBob:{PLAIN}x::::::scram=SHA-256,a,b quota=1\ncarol:!$6$x$y::::::scram=z\ndave:\n")
	s := New(dir, owners{})
	for _, tt := range []struct {
		domain, name string
		want         Login
	}{
		{"v.example", "alice", Login{"alice@v.example", false, Secret{"$6$x$y", ""}}},
		{"v.example", "bob", Login{"Bob@v.example", false, Secret{"{PLAIN}x", "SHA-256,a,b"}}},
		{"v.example", "carol", Login{"carol@v.example", true, Secret{"$6$x$y", "z"}}},
		{"v.example", "dave", Login{"dave@v.example", false, Secret{"", ""}}},
	} {
		got, err := s.Login(t.Context(), tt.domain, tt.name)
		if got != tt.want || err != nil {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
	for _, domain := range []string{"v.example", "off.example", "other.example"} {
		if _, err := s.Login(t.Context(), domain, "nobody"); !errors.Is(err, ErrNoUser) {
			t.Errorf("nobody@%s: %v", domain, err)
		}
	}
	var v Verified
	without := func(want int) {
		t.Helper()
		if n, err := v.Without(t.Context(), s); n != want || err != nil {
			t.Errorf("%d without, %v, want %d", n, err, want)
		}
	}
	without(1)
	without(1)
	write(t, dir, PasswdFile, "bob:{PLAIN}x::::::scram=a\n")
	without(0)
	must(t, os.Remove(filepath.Join(dir, "v.example", PasswdFile)))
	if _, err := v.Without(t.Context(), s); err == nil {
		t.Error("without a file there is no error")
	}
}
