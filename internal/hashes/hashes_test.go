//go:build !lite

package hashes

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

const password = "pass wörd"

// run returns what a program of the system prints.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

// crypt is crypt(3) of the system, of which perl makes a program.
func crypt(t *testing.T, password, setting string) string {
	t.Helper()
	return run(t, "perl", "-e", "print crypt($ARGV[0], $ARGV[1])", password, setting)
}

// TestSystemsOwn: hashes that the system's own tools make, of passwords of several lengths
// and kinds.
func TestSystemsOwn(t *testing.T) {
	for _, pw := range []string{password, "a", strings.Repeat("long", 30), "\\$x$", strings.Repeat("x", 16), strings.Repeat("x", 17)} {
		for _, setting := range []string{
			"$y$j9T$F5Jx5fExrKuPp53xLKQ..1", "$y$j75$abc.", "$6$saltsalt", "$6$rounds=1000$x", "$5$saltsalt", "$5$rounds=6000$sixteen.letters.", "$1$saltsalt",
			"$2b$04$abcdefghijklmnopqrstuu", "$2y$05$abcdefghijklmnopqrstuu", "$2a$04$abcdefghijklmnopqrstuu",
		} {
			check(t, crypt(t, pw, setting), pw)
		}
		check(t, run(t, "openssl", "passwd", "-apr1", "-salt", "abcdefgh", pw), pw)
		check(t, run(t, "openssl", "passwd", "-apr1", "-salt", "xy", pw), pw)
	}
}

// TestSHACrypt: SHA-crypt is our own; its steps tell passwords apart by whole sums and
// single bits of their length, and salts by theirs.
func TestSHACrypt(t *testing.T) {
	for _, n := range []int{1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 511} {
		for _, prefix := range []string{sha256Prefix, sha512Prefix} {
			for _, salt := range []string{"s", "saltsalt", "sixteen.letters."} {
				pw := strings.Repeat("pässwörd.", n/9+1)[:n]
				check(t, crypt(t, pw, prefix+roundsWord+"1000$"+salt), pw)
			}
		}
	}
}

// check holds that a hash is that of a password, and of no other one.
func check(t *testing.T, text, password string) {
	t.Helper()
	forms := []string{text}
	if text[0] == '$' {
		forms = append(forms, "{CRYPT}"+text)
	}
	for _, form := range forms {
		h, err := Parse(form)
		switch {
		case err != nil:
			t.Errorf("%s: %v", form, err)
		case !h.Match(password):
			t.Errorf("%s is not that of %q", form, password)
		case h.Match("x"+password[1:]+"?") || h.Match(""):
			t.Errorf("%s is that of every password", form)
		case h.Memory() == 0:
			t.Errorf("%s takes no memory", form)
		}
	}
}

// TestForms: Dovecot's schemes, argon2 (the reference implementation's own test), closed
// accounts, and what is refused before it is worked on.
func TestForms(t *testing.T) {
	for _, tt := range []struct {
		text, password string
		err            error
	}{
		{"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password", nil},
		{"{ARGON2ID}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password", nil},
		{"{PLAIN}pass wörd", password, nil}, {"{plain}x}y", "x}y", nil}, {"{CLEARTEXT}a", "a", nil},
		{"{SHA}qvTGHdzF6KLavt4PO0gs2a6pQ00=", "hello", nil}, {"{SHA1.hex}aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", "hello", nil},
		{"{SSHA}bVccY9u2VrnKCFw/uq7wfb9a4r5TQUxU", "hello", nil},
		{"{SHA256}LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=", "hello", nil},
		{"{SHA512}m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==", "hello", nil},
		{"!", "", ErrClosed}, {"*", "", ErrClosed}, {"", "", ErrClosed}, {"!$6$saltsalt$x", "", ErrClosed}, {"x", "", ErrClosed}, {"{PLAIN}", "", ErrClosed}, {"{CRYPT}*LK*", "", ErrClosed},
		{"secret", "", ErrForm}, {"{NTLM}xx", "", ErrForm}, {"ab0123456789.", "", ErrForm}, {"$9$x$y", "", ErrForm}, {"$y$j9T$x", "", ErrForm}, {"$argon2id$", "", ErrForm},
		{"{SHA}YQ==", "", ErrForm}, {"{SHA}?", "", ErrForm}, {"$apr1$$x", "", ErrForm}, {"$6$" + strings.Repeat("x", 2000), "", ErrForm},
		{"$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$AAAA", "", ErrCost}, {"$argon2id$v=19$m=65536,t=1000,p=1$c29tZXNhbHQ$AAAA", "", ErrCost},
		{"$argon2id$v=19$m=64,t=1,p=200$c29tZXNhbHQ$AAAA", "", ErrCost}, {"$2b$31$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuuabcdefghijklmno", "", ErrCost},
		{"$6$rounds=999999999$saltsalt$x", "", ErrCost}, {"$y$jFT$F5Jx5fExrKuPp53xLKQ..1$x", "", ErrCost},
	} {
		h, err := Parse(tt.text)
		if !errors.Is(err, tt.err) || err != nil && tt.err == nil {
			t.Errorf("%.60s: %v, want %v", tt.text, err, tt.err)
			continue
		}
		if err == nil && (!h.Match(tt.password) || h.Match(tt.password+"x")) {
			t.Errorf("%.60s is not that of %q", tt.text, tt.password)
		}
		if err != nil && len(tt.text) > 6 && strings.Contains(err.Error(), tt.text) {
			t.Errorf("%v tells the hash", err)
		}
	}
}

// TestNew: a new hash is read back, another one each time, and in bounds.
func TestNew(t *testing.T) {
	first, err := New(password)
	if err != nil {
		t.Fatal(err)
	}
	second, _ := New(password)
	if first == second || !strings.HasPrefix(first, "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%s and %s", first, second)
	}
	check(t, first, password)
}

// FuzzParse: whatever stands in a file, reading it ends, and an account opens to its own
// password alone.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"$y$j75$abc.$x", "$6$rounds=1000$x$y", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR", "{SSHA}6amLgXuh", "$apr1$x$" + strings.Repeat("x", 22), "$2b$04$x", "!"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := Parse(text)
		if err != nil || h.Memory() > 1<<20 {
			return
		}
		if h.Memory() > MaxMemory {
			t.Errorf("%q takes %d octets", text, h.Memory())
		}
		if strings.Contains(text, "rounds=") || strings.HasPrefix(text, "$2") || strings.Contains(text, "$argon2") {
			return // which take long, and TestSystemsOwn has
		}
		h.Match("x")
	})
}

// BenchmarkSHACrypt is one of SHA-512 with 5,000 rounds.
func BenchmarkSHACrypt(b *testing.B) {
	for b.Loop() {
		shaCrypt(sha512Prefix, "Hello world!", "saltstring", shaRounds)
	}
}
