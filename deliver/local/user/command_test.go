package user

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"postoffice/deliver/local"
	"postoffice/internal/smtp"
)

// TestShellOnlyWhereNeeded: which commands go through /bin/sh.
func TestShellOnlyWhereNeeded(t *testing.T) {
	for _, tt := range []struct {
		text string
		want string // path and arguments; "": the shell
	}{
		{"/usr/bin/prog", "/usr/bin/prog"},
		{"/usr/bin/prog -a  x@b.example\t--y=z", "/usr/bin/prog -a x@b.example --y=z"},
		{"exec /usr/bin/prog -a", "/usr/bin/prog -a"},
		{"./prog a", "./prog a"},
		{"cat -", "/usr/bin/cat -"},
		{"exec", ""},
		{"exec -a x y", ""},
		{"exit 75", ""},
		{"no-such-command a", ""},
		{"X=1 prog", ""},
		{"", ""},
		{"prog > x", ""}, {"a; b", ""}, {"a | b", ""}, {"a && b", ""}, {"a 'b c'", ""}, {`a "b"`, ""}, {"a $HOME", ""},
		{"a ~/x", ""}, {"a *", ""}, {"a [x]", ""}, {"a {b,c}", ""}, {"a #b", ""}, {"! a", ""}, {"a\nb", ""}, {`a \b`, ""}, {"a \xc3\xa4", ""}, {"a `b`", ""},
		{"a ^b", ""}, {"a (b)", ""},
	} {
		c, err := newCommand(tt.text, "")
		if err != nil {
			t.Fatal(err)
		}
		want := throughShell(tt.text)
		if f := strings.Fields(tt.want); len(f) > 0 {
			want = command{path: f[0], args: f, text: tt.text}
			want.args = append([]string{c.args[0]}, f[1:]...)
		}
		if c.path != want.path || !slices.Equal(c.args, want.args) || c.text != want.text {
			t.Errorf("%q: %q, want %q", tt.text, c, want)
		}
	}
}

// message is what the tests of option mailer know of one.
func fakeValues(mail string) func(string) (string, bool, bool) {
	return func(name string) (string, bool, bool) {
		switch name {
		case "user":
			return "alice", false, true
		case "home":
			return "/home/a b", false, true
		case "sender", "recipient", "extension":
			return mail, true, true
		}
		return "", false, false
	}
}

func TestMailerCommandA20(t *testing.T) {
	for _, tt := range []struct{ template, mail, want, err string }{
		{"/bin/m", "", "/bin/m", ""},
		{"/bin/m -d ${user} -h ${home}", "", "/bin/m|-d|alice|-h|/home/a b", ""},
		{`/bin/m "a b" "" x"y z"`, "", "/bin/m|a b||xy z", ""},
		{"/bin/m -f ${sender}", "x y@b.example", "/bin/m|-f|x_y@b.example", ""},
		{"/bin/m -f ${sender}", "", "/bin/m|-f|", ""},
		{"/bin/m ${sender}", "-oX/tmp/x", "/bin/m|_oX/tmp/x", ""},
		{"/bin/m -f${sender} x-${extension}", "-x", "/bin/m|-f-x|x--x", ""},
		{"/bin/m ${extension}${sender}", "--x", "/bin/m|_-x--x", ""},
		{"/bin/m ${sender}", "${user}", "/bin/m|__user_", ""},
		{"/bin/m ${sender}", "$(id)`id`;\"\n", "/bin/m|__id__id____", ""},
		{"/bin/m ${shell}", "", "", "want ${user}"},
		{"/bin/m ${user", "", "", "want ${user}"},
		{`/bin/m "x`, "", "", "a quote that does not end"},
		{"m x", "", "", "absolute path"},
		{"", "", "", "absolute path"},
		{"/bin/m $user {x}", "", "/bin/m|$user|{x}", ""},
	} {
		c, err := mailerCommand(tt.template, fakeValues(tt.mail))
		if got := strings.Join(c.args, "|"); got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q with %q: %q, %v, want %q, %q", tt.template, tt.mail, got, err, tt.want, tt.err)
		}
	}
}

func TestMailerAsUser(t *testing.T) {
	if _, done := asUser(t, nil); done {
		return
	}
	p := newUser(t, func(o *Options) {
		o.Mailer = `/bin/sh -c "printf '%s ' $* > args; cat > message" sh -d ${user} -a ${extension} -f ${sender} ${recipient}`
		o.ProgramDir = "/nonexistent"         // is for users' programs
		o.Account.Shell = "/usr/sbin/nologin" // so are login shells
	})
	job := func(final bool) local.Job {
		return local.Job{User: "alice", Item: local.Item{Source: local.FromMailer, Name: "alice"}, Body: strings.NewReader("x\n"), Final: final, Envelope: local.Envelope{
			Sender: smtp.Path{Local: "s", Domain: "a.example"}, Recipient: smtp.Path{Local: "-alice"}, Extension: "-ext",
		}}
	}
	run := func(final bool) local.Result {
		os.Remove(p.path("args"))
		return p.Run(context.Background(), job(final))
	}
	wants(t, "mailer", run(false), "delivered", "2.0.0", "")
	if got, want := p.file("args"), "-d alice -a _ext -f s@a.example _alice "; got != want || p.file("message") != "x\n" {
		t.Errorf("arguments %q, want %q, message %q", got, want, p.file("message"))
	}
	p.forwardText("bob")
	if r := run(false); r.String() != "forwarded" || p.file("args") != "" {
		t.Errorf("with a .forward: %v %v %v", r.String(), r.Reply, r.Err)
	}
	wants(t, "the last step", run(true), "delivered", "2.0.0", "")
	must(t, os.Chmod(p.home, 0))
	r := run(false)
	must(t, os.Chmod(p.home, 0o700))
	wants(t, "a home that can't be entered", r, "deferred", "4.2.0", "forwarded")
	p.o.Mailer = "/nonexistent ${user}"
	wants(t, "no such mailer", run(true), "deferred", "4.3.5", "can't be started")
	p.o.Mailer = "/bin/cat ${users}"
	wants(t, "a typo", run(true), "deferred", "4.3.5", "option mailer")
}

func FuzzMailerCommand(f *testing.F) {
	f.Add("/bin/m -f ${sender} ${extension}", "-x y")
	f.Add(`/bin/m "${sender} ${user}"${home}`, "${home}\" ")
	f.Fuzz(func(t *testing.T, template, mail string) { // mail never makes words, options or other octets
		plain, errPlain := mailerCommand(template, fakeValues("x"))
		c, err := mailerCommand(template, fakeValues(mail))
		if (err == nil) != (errPlain == nil) || len(c.args) != len(plain.args) {
			t.Fatalf("%q with %q: %q, %v, but %q, %v", template, mail, c.args, err, plain.args, errPlain)
		}
		for i, w := range c.args {
			if strings.HasPrefix(w, "-") && !strings.HasPrefix(plain.args[i], "-") {
				t.Errorf("%q with %q: %q is an option", template, mail, w)
			}
		}
	})
}

func FuzzHarmless(f *testing.F) {
	f.Add("a+b@c.example")
	f.Add("\"$(id)\n\"@x")
	f.Fuzz(func(t *testing.T, in string) {
		out := harmless(in)
		if len(out) != len(in) || harmless(out) != out {
			t.Errorf("%q: %q", in, out)
		}
		for i, c := range []byte(out) {
			ok := '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || strings.ContainsRune("@._+=:/-", rune(c))
			if ok != (in[i] == c || c == '_') {
				t.Errorf("%q: octet %d of %q", in, i, out)
			}
		}
	})
}

// TestReason: what a program printed is cut and made printable.
func TestReason(t *testing.T) {
	var b strings.Builder
	b.WriteString("\n \r\n")
	for range 20 {
		b.WriteString(strings.Repeat("y", 600) + "\n")
	}
	lines := strings.Split(reason("it failed", []byte(b.String())), "\n")
	if len(lines) != 11 || lines[0] != "it failed" || len(lines[1]) != 500 || len(lines[10]) != 500 {
		t.Errorf("%d lines: %.40q", len(lines), lines)
	}
	if got := reason("x", []byte("a\x1b[0m\tb\x7f\r\n\xff")); got != "x\na?[0m b?\n?" {
		t.Errorf("%q", got)
	}
}
