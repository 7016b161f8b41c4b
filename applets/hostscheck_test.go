package applets

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postoffice/applets/cmdline"
)

// TestHostsChecked: config --check tells what is wrong in hosts.allow and hosts.deny,
// with file and line, and fails where a line does not count or asks for a command.
func TestHostsChecked(t *testing.T) {
	for _, tt := range []struct {
		allow, deny string
		code        int
		says        []string // each with its file
	}{
		{"smtpd: .example.org\n", "smtpd: ALL: setenv WHY no\n", 0, nil},
		{"", "sshd: ALL: spawn (echo x)\n", 0, nil}, // not ours
		{"", "# x\nsmtpd: ALL: spawn (echo x)\n", 65, []string{"deny:2: no command is run from here: take spawn away"}},
		{"", "ALL: ALL: twist /bin/echo no\n", 65, []string{"deny:1: no command is run from here: the client is refused"}},
		{"smtpd: ALL: (mail root)\n", "", 65, []string{"allow:1: what stands behind the clients is no option"}},
		{"smtpd\n", "smtpd: 1.2.3.4/33\n", 65, []string{"allow:1: want SERVICES : CLIENTS", "deny:1: clients: \"33\" is no length"}},
		{"smtpd: ALL: severity mail.info\n", "", 0, []string{"warning: ", "allow:1: severity means nothing here"}},
	} {
		p := oldFile(t, "log=stderr\n")
		asMailDir(t, p.dir)
		cf := filepath.Join(p.dir, "cf")
		text, err := os.ReadFile(cf)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.Replace(text, []byte("log=file:"+p.dir+"/log\n"), nil, 1)
		text = fmt.Appendf(text, "hosts-allow=%s/allow\nhosts-deny=%[1]s/deny\ntls-cert=none\n", p.dir)
		if os.Getuid() == 0 {
			text = append(text, "server-user=nobody\ndefault-user=daemon\n"...)
		}
		for name, text := range map[string]string{"cf": string(text), "allow": tt.allow, "deny": tt.deny} {
			if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		var out strings.Builder
		env := &cmdline.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out}
		if code := programs().Run(t.Context(), env, []string{"config", "-C", cf, "--check"}); code != tt.code || len(tt.says) == 0 && out.Len() > 0 {
			t.Errorf("allow %q, deny %q: exit %d, want %d, it said\n%s", tt.allow, tt.deny, code, tt.code, &out)
		}
		for _, want := range tt.says {
			if !strings.Contains(out.String(), want) {
				t.Errorf("allow %q, deny %q: it said\n%s\nwant %q", tt.allow, tt.deny, &out, want)
			}
		}
	}
}

// TestUnreadTold: what the server can't read of the files that judge clients is told at
// the start and by config --check, with what to do and what is missed meanwhile.
func TestUnreadTold(t *testing.T) {
	p := oldFile(t, "")
	cf := filepath.Join(p.dir, "cf")
	text, err := os.ReadFile(cf)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Appendf(text, "hosts-allow=%s/allow\nhosts-deny=%[1]s/closed/deny\nbanner=%[1]s/banner\n", p.dir)
	if os.Getuid() == 0 {
		text = append(text, "server-user=nobody\ndefault-user=daemon\n"...)
	}
	if err := os.WriteFile(cf, text, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"allow", "banner", "closed/deny"} {
		name := filepath.Join(p.dir, file)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("smtpd: 10.\n"), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []struct {
		path string
		mode os.FileMode
	}{{p.dir, 0o755}, {filepath.Join(p.dir, "closed"), 0}} {
		if err := os.Chmod(dir.path, dir.mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(p.dir, "closed"), 0o755) })
	var out strings.Builder
	env := &cmdline.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out}
	programs().Run(t.Context(), env, []string{"config", "-C", cf, "--check"})
	for _, want := range []string{
		"/allow: permission denied: until it can be read, whom hosts-deny denies is asked to come again; the server may not read it: chmod a+r " + p.dir + "/allow, or give it to the server's group\n",
		"/closed/deny: permission denied: until it can be read, it denies nobody; a directory above it is closed to the server: namei -l " + p.dir + "/closed/deny shows which, chmod a+x opens it\n",
		"/banner: permission denied: until it can be read, the greeting goes without its lines; the server may not read it: chmod a+r " + p.dir + "/banner, or give it to the server's group\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("config --check said\n%s\nwant %q", &out, want)
		}
	}
}

// TestUnreadToldAtStart: the same at the start of a server, which is the caller here: a file that nobody
// can read, root neither, is a directory.
func TestUnreadToldAtStart(t *testing.T) {
	p := oldFile(t, "")
	cf := filepath.Join(p.dir, "cf")
	text, err := os.ReadFile(cf)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Appendf(text, "hosts-allow=%s\nhosts-deny=%[1]s/deny\nbanner=%[1]s\n", p.dir)
	for name, text := range map[string]string{"cf": string(text), "deny": "smtpd\n"} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.serve()
	if code, said := p.run("mailq"); code != 0 { // it answers, so it has begun to listen
		t.Fatalf("mailq: exit %d, %s", code, said)
	}
	log, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"error: hosts file unreadable file=" + p.dir + " err=", "warning: banner not read file=" + p.dir + " err=",
		"warning: hosts file not understood file=" + p.dir + "/deny:1 err=",
	} {
		before, _, found := strings.Cut(string(log), want)
		if !found || strings.Contains(before, "server ready") {
			t.Errorf("the log has\n%s\nwant %q before the server is ready", log, want)
		}
	}
}

// TestLinesChecked: config --check tells of lines that can't be understood in the files
// that are made of lines, with file and line, and fails.
func TestLinesChecked(t *testing.T) {
	for _, tt := range []struct{ option, file, text, want string }{
		{"sender-logins", "senders", "sales@us.example alice\n\nnobody\n", "senders:3: "},
		{"routes", "routes", "far.example [192.0.2.1]\nfar.example\n", `routes:2: "far.example": want where to`},
		{"sender-map", "map", "# x\nalice\n", "map:2: want an address"},
		{"vhost-dir", "domains.cf", "owner:v.example:0:\nbroken\n", "domains.cf:2: want owner:domain:active"},
	} {
		p := oldFile(t, "log=stderr\n")
		asMailDir(t, p.dir)
		value := filepath.Join(p.dir, tt.file)
		if err := os.WriteFile(value, []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if tt.option == "vhost-dir" {
			value = p.dir
		}
		cf := filepath.Join(p.dir, "cf")
		text, err := os.ReadFile(cf)
		if err != nil {
			t.Fatal(err)
		}
		text = fmt.Appendf(text, "%s=%s\ntls-cert=none\n", tt.option, value)
		if os.Getuid() == 0 {
			text = append(text, "server-user=nobody\ndefault-user=daemon\n"...)
		}
		if err := os.WriteFile(cf, text, 0o644); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		env := &cmdline.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out}
		if code := programs().Run(t.Context(), env, []string{"config", "-C", cf, "--check"}); code != 65 || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: exit %d, it said\n%s\nwant 65 and %q", tt.option, code, &out, tt.want)
		}
	}
}
