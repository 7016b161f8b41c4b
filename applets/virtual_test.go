package applets

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/applets/cmdline"
	"postoffice/internal/hashes"
	"postoffice/internal/sasl"
)

// virtualCalls runs commands about virtual domains in a directory of their own.
type virtualCalls struct {
	t          *testing.T
	cf, dir    string
	owner      string
	passwdFile string // of v.example
}

func newVirtualCalls(t *testing.T) *virtualCalls {
	t.Helper()
	top := t.TempDir()
	v := &virtualCalls{t: t, cf: filepath.Join(top, "cf"), dir: filepath.Join(top, "virtual"), owner: login(t, os.Getuid())}
	boxes := v.owner
	if os.Getuid() == 0 {
		boxes = "nobody"
	}
	v.passwdFile = filepath.Join(v.dir, "v.example", "passwd")
	text := fmt.Sprintf("vhost-dir=%s\nvhost-spool=%s/spool\nvhost-user=%s\naliases=%[2]s/aliases\n", v.dir, top, boxes)
	if err := os.WriteFile(v.cf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return v
}

// says runs `postoffice ARGV…` with an input and returns its exit code and what it wrote.
func (v *virtualCalls) says(input string, argv ...string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	env := &cmdline.Env{Program: "postoffice", Stdin: strings.NewReader(input), Stdout: &stdout, Stderr: &stderr}
	argv = append([]string{"postoffice", argv[0], "-C", v.cf}, argv[1:]...)
	code = programs().Run(context.Background(), env, argv)
	return code, stdout.String(), stderr.String()
}

// want fails unless the command ends with the code and writes the text on one of its
// streams.
func (v *virtualCalls) want(code int, text, input string, argv ...string) {
	v.t.Helper()
	got, out, errs := v.says(input, argv...)
	if got != code || !strings.Contains(out+errs, text) {
		v.t.Errorf("%q: exit code %d, want %d with %q\n%s%s", argv, got, code, text, out, errs)
	}
	if secret := strings.TrimSpace(input); secret != "" && strings.Contains(out+errs, secret) {
		v.t.Errorf("%q: the password is shown:\n%s%s", argv, out, errs)
	}
}

// TestVirtualCommands: a domain and its users are made, changed and taken away, each
// mistake has its exit code and says what to do, and what is written is what logins read.
func TestVirtualCommands(t *testing.T) {
	v := newVirtualCalls(t)
	v.want(68, "not a known virtual domain", "pw\n", "vpasswd", "add", "bob@v.example")
	v.want(64, "no command \"ad\", want one of add del", "", "vdomain", "ad", "v.example")
	v.want(64, "add needs a domain", "", "vdomain", "add")
	v.want(64, "can't be a virtual domain", "", "vdomain", "add", "../etc")
	v.want(67, "flag --owner names", "", "vdomain", "add", "--owner", "nobody-of-that-name", "v.example")
	v.want(0, "", "", "vdomain", "add", "--owner", v.owner, "--comment", "ours", "V.Example")
	v.want(65, "stands in "+v.dir+"/domains.cf already", "", "vdomain", "add", "--owner", v.owner, "v.example")
	v.want(0, "v.example\t"+v.owner+"\tactive\n", "", "vdomain", "list")
	v.want(0, "", "", "vdomain", "disable", "v.example")
	v.want(0, "v.example\t"+v.owner+"\tdisabled\n", "", "vdomain", "list", "v.example")
	v.want(0, "", "", "vdomain", "enable", "v.example")
	v.want(68, "not a known virtual domain", "", "vdomain", "disable", "w.example")
	if text, err := os.ReadFile(v.dir + "/domains.cf"); err != nil || !strings.HasSuffix(string(text), "\n"+v.owner+":v.example:1:ours\n") {
		t.Errorf("domains.cf is %q, %v", text, err)
	}

	v.want(0, "", "correct horse\n", "vpasswd", "add", "Bob@v.example")
	v.want(65, "is a user already", "x y\n", "vpasswd", "add", "bob@v.example")
	v.want(0, "", "second pass", "vpasswd", "add", "amy@v.example")
	v.want(65, "no password was given", "\n", "vpasswd", "set", "bob@v.example")
	v.want(65, "control characters", "a\x01b\n", "vpasswd", "set", "bob@v.example")
	v.want(65, "more than 512 octets", strings.Repeat("x", 513), "vpasswd", "set", "bob@v.example")
	v.want(65, "can't be a user", "pw w\n", "vpasswd", "add", "a b@v.example")
	v.want(64, "want user@domain", "pw w\n", "vpasswd", "add", "bob")
	v.want(64, "takes one user", "pw w\n", "vpasswd", "add", "a@v.example", "b@v.example")
	v.want(67, "eve@v.example is no user", "pw w\n", "vpasswd", "set", "eve@v.example")
	v.logsIn("Bob", "correct horse", true)
	v.want(0, "", "battery staple\r\n", "vpasswd", "set", "bob@v.example")
	v.logsIn("Bob", "battery staple", true)
	v.want(0, "", "", "vpasswd", "disable", "bob@v.example")
	v.logsIn("Bob", "battery staple", false)
	v.want(0, "Bob\tdisabled\namy\tactive\n", "", "vpasswd", "list", "v.example")
	v.want(0, "users 2, who may log in 1, of them not by SCRAM 0", "", "vpasswd", "check", "v.example")
	v.want(0, "", "", "vpasswd", "enable", "bob@v.example")
	v.logsIn("Bob", "battery staple", true)

	f, err := os.OpenFile(v.passwdFile, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString("old:$apr1$abcdefgh$6jlKyIkbBHcFZfSYNhBPs1\nodd:{NONE}x\nbroken\n")
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	v.want(65, "passwd:5: odd: no hash of a form", "", "vpasswd", "check", "v.example")
	v.want(65, "passwd:6: no colon", "", "vpasswd", "check", "v.example")
	v.want(65, "not by SCRAM 2", "", "vpasswd", "check", "v.example")
	v.want(0, "old@v.example: users 1, who may log in 1, of them not by SCRAM 1", "", "vpasswd", "check", "old@v.example")
	v.want(0, "", "", "vpasswd", "del", "broken@v.example", "odd@v.example", "old@v.example", "bob@v.example")
	v.want(67, "is no user", "", "vpasswd", "del", "bob@v.example")
	v.want(0, "amy\tactive\n", "", "vpasswd", "list", "v.example")

	v.want(0, "its files stay: "+v.dir+"/v.example", "", "vdomain", "del", "v.example")
	v.want(68, "not a known virtual domain", "", "vdomain", "del", "v.example")
}

// logsIn checks what stands in the file of a user against a password, as a login does.
func (v *virtualCalls) logsIn(name, password string, may bool) {
	v.t.Helper()
	text, err := os.ReadFile(v.passwdFile)
	if err != nil {
		v.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if f[0] != name {
			continue
		}
		if len(f) != 8 {
			v.t.Fatalf("line %q", line)
		}
		h, err := hashes.Parse(f[1])
		verifier, isOpen := strings.CutPrefix(f[7], "scram=")
		if !may {
			if err == nil || isOpen {
				v.t.Errorf("line %q lets %s log in", line, name)
			}
			return
		}
		s, scramErr := sasl.ParseVerifier(verifier)
		if err != nil || scramErr != nil || !h.Match(password) || h.Match(password+"x") || !s.Match(password) || s.Match(password+"x") {
			v.t.Errorf("line %q: %v, %v, want one that %s logs in by", line, err, scramErr, name)
		}
		return
	}
	v.t.Errorf("%s is not in %q", name, text)
}

// TestNewaliasesHost: newaliases with names of domains makes their databases; what they
// may not name is an error, and what is no domain is told of, as by the original.
func TestNewaliasesHost(t *testing.T) {
	v := newVirtualCalls(t)
	v.want(0, "", "", "vdomain", "add", "--owner", v.owner, "v.example")
	aliases := filepath.Join(v.dir, "v.example", "aliases")
	write := func(text string) {
		if err := os.WriteFile(aliases, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	write("*: bob\ninfo: bob, amy@far.example\n")
	v.want(0, "aliases: 2 aliases", "", "newaliases", "V.example", "none.example")
	v.want(0, "none.example: not a known virtual domain", "", "newaliases", "none.example")
	v.want(0, "info\tbob, amy@far.example", "", "dbm", "dump", aliases)
	for _, item := range []string{`"|cat"`, "/tmp/file", ":include:/etc/shadow"} {
		write("info: bob\nbad: " + item + "\n")
		v.want(65, "aliases:2: alias bad: ", "", "newaliases", "v.example")
		v.want(65, "names addresses alone: take it out", "", "newaliases", "v.example")
	}
	v.want(0, "info\tbob, amy@far.example", "", "dbm", "dump", aliases)
}
