package plan

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// everywhere is what is done on a machine without anything, below /usr/local.
var everywhere = strings.Split(strings.TrimSpace(`
make the group postoffice
make the account postoffice, in the group postoffice
make the group postoffice-alias
make the account postoffice-alias, in the group postoffice-alias
make the directory /var/spool/postoffice, mode 0700, of postoffice:postoffice
make the directory /var/lib/postoffice, mode 0755, of root:root
put the program at /usr/local/sbin/postoffice
make /usr/local/sbin/sendmail a name of postoffice
make /usr/local/bin/mailq a name of /usr/local/sbin/postoffice
make /usr/local/bin/newaliases a name of /usr/local/sbin/postoffice
make /usr/local/sbin/runq a name of postoffice
make /usr/local/sbin/smtpd a name of postoffice
make /usr/local/sbin/authexpire a name of postoffice
make /usr/local/sbin/send-mail a name of postoffice
make /usr/local/bin/dbm a name of /usr/local/sbin/postoffice
write /etc/postoffice.cf: a first configuration, for this machine alone
`), "\n")

// links are what is done at the system's own places, where those are free.
var links = []string{
	"make /usr/bin/mailq a name of /usr/local/sbin/postoffice",
	"make /usr/bin/newaliases a name of /usr/local/sbin/postoffice",
	"make /usr/lib/sendmail a name of /usr/local/sbin/postoffice",
	"make /usr/sbin/sendmail a name of /usr/local/sbin/postoffice",
}

// theMachine has the directories of every machine.
func theMachine(change func(f *Facts)) *Facts {
	f := &Facts{Prefix: "/usr/local", NoLogin: "/usr/sbin/nologin", Users: map[string]bool{"root": true}, Groups: map[string]bool{"root": true, "mail": true}, Entries: map[string]Entry{}}
	for _, dir := range strings.Fields("/ /etc /etc/init.d /etc/mail /usr /usr/bin /usr/sbin /usr/lib /usr/local /usr/local/bin /usr/local/sbin /var /var/lib /var/mail /var/spool /etc/systemd/system/multi-user.target.wants /etc/systemd/system /etc/systemd /etc/runlevels /etc/runlevels/default /etc/rc.d /usr/local/etc/rc.d /usr/local/etc /etc/rc.conf.d") {
		f.Entries[dir] = Entry{Kind: Directory}
	}
	if change != nil {
		change(f)
	}
	return f
}

// has puts links of another mail server at the system's places.
func (f *Facts) has(target, owner string) {
	for _, at := range strings.Fields("/usr/sbin/sendmail /usr/lib/sendmail /usr/bin/mailq /usr/bin/newaliases") {
		f.Entries[at] = Entry{Kind: Symlink, Target: target, Owner: owner}
	}
}

// words are steps in words, but for those that are done everywhere.
func words(steps []*Step) (some []string) {
	for _, s := range steps {
		if !slices.Contains(everywhere, s.String()) {
			some = append(some, s.String())
		}
	}
	return some
}

// TestSystems: what is done on each kind of system, besides what is done everywhere.
func TestSystems(t *testing.T) {
	for _, tt := range []struct {
		name    string
		facts   func(f *Facts)
		want    []string
		refused string
	}{
		{"nothing", nil, append(slices.Clone(links), "nothing that is known here starts services at boot: have it run /usr/local/sbin/smtpd"), ""},
		{"Debian with exim and systemd", func(f *Facts) {
			f.Packages, f.Manager, f.Running, f.Live = Dpkg, Systemd, true, true
			f.has("exim4", "exim4-daemon-light")
		}, []string{
			"have dpkg keep /usr/bin/mailq as /usr/bin/mailq.distrib: it is the package exim4-daemon-light's", links[0],
			"have dpkg keep /usr/bin/newaliases as /usr/bin/newaliases.distrib: it is the package exim4-daemon-light's", links[1],
			"have dpkg keep /usr/lib/sendmail as /usr/lib/sendmail.distrib: it is the package exim4-daemon-light's", links[2],
			"have dpkg keep /usr/sbin/sendmail as /usr/sbin/sendmail.distrib: it is the package exim4-daemon-light's", links[3],
			"run systemctl daemon-reload",
			"write /etc/systemd/system/postoffice.service",
			"write /etc/systemd/system/postoffice.socket: it is not enabled",
			"make /etc/systemd/system/multi-user.target.wants/postoffice.service a name of /etc/systemd/system/postoffice.service: systemd starts it at boot",
			"run systemctl daemon-reload",
			"run systemctl restart postoffice.service: the server starts",
		}, ""},
		{"Debian whose exim runs", func(f *Facts) { f.Packages, f.Live, f.Listens = Dpkg, true, true }, nil, "another mail server answers at port 25"},
		{"Debian below /usr", func(f *Facts) {
			f.Packages, f.Prefix = Dpkg, "/usr"
			f.Entries["/usr/sbin/runq"] = Entry{Kind: Symlink, Target: "exim4", Owner: "exim4-daemon-light"}
		}, []string{
			"put the program at /usr/sbin/postoffice",
			"have dpkg keep /usr/sbin/runq as /usr/sbin/runq.distrib: it is the package exim4-daemon-light's",
			"make /usr/sbin/runq a name of postoffice", "make /usr/sbin/smtpd a name of postoffice",
			"make /usr/sbin/authexpire a name of postoffice", "make /usr/sbin/send-mail a name of postoffice",
			"make /usr/bin/dbm a name of /usr/sbin/postoffice", "have dpkg keep /usr/bin/mailq as /usr/bin/mailq.distrib: whatever package brings one", "make /usr/bin/mailq a name of /usr/sbin/postoffice",
			"have dpkg keep /usr/bin/newaliases as /usr/bin/newaliases.distrib: whatever package brings one", "make /usr/bin/newaliases a name of /usr/sbin/postoffice", "have dpkg keep /usr/lib/sendmail as /usr/lib/sendmail.distrib: whatever package brings one", "make /usr/lib/sendmail a name of /usr/sbin/postoffice",
			"have dpkg keep /usr/sbin/sendmail as /usr/sbin/sendmail.distrib: whatever package brings one", "make /usr/sbin/sendmail a name of postoffice", "nothing that is known here starts services at boot: have it run /usr/sbin/smtpd",
		}, ""},
		{"Red Hat", func(f *Facts) { // S91: priority 90; R50: the mail directory
			f.Packages, f.Alternatives, f.Manager = RPM, "/usr/sbin/alternatives", Systemd
			delete(f.Entries, "/var/mail")
			f.has("/etc/alternatives/mta", "")
		}, []string{
			"make the directory /var/spool/mail, mode 1777, of root:root",
			"make /var/mail a name of spool/mail: where mailboxes are",
			"run /usr/sbin/alternatives --install /usr/sbin/sendmail mta /usr/local/sbin/postoffice 90 --slave /usr/bin/mailq mta-mailq /usr/local/sbin/postoffice --slave /usr/bin/newaliases mta-newaliases /usr/local/sbin/postoffice --slave /usr/lib/sendmail mta-sendmail /usr/local/sbin/postoffice: Red Hat's way to choose between mail servers",
			"write /etc/systemd/system/postoffice.service",
			"write /etc/systemd/system/postoffice.socket: it is not enabled",
			"make /etc/systemd/system/multi-user.target.wants/postoffice.service a name of /etc/systemd/system/postoffice.service: systemd starts it at boot",
		}, ""},
		{"Red Hat without alternatives", func(f *Facts) {
			f.Packages = RPM
			f.has("ssmtp", "ssmtp")
		}, nil, "/usr/bin/mailq belongs to the package ssmtp"},
		{"Red Hat with the package", func(f *Facts) {
			f.Packages, f.Alternatives, f.Manager = RPM, "/usr/sbin/alternatives", Systemd
			f.has("/etc/alternatives/mta", "")
			f.Entries["/usr/sbin/postoffice"] = Entry{Kind: File, Owner: "postoffice"}
		}, nil, "the package postoffice is installed"},
		{"FreeBSD", func(f *Facts) { // R44: the links stay; R48: where the file is
			f.Manager, f.MailerConf = FreeBSD, "/etc/mail/mailer.conf"
			f.has("/usr/sbin/mailwrapper", "")
			f.Entries["/etc/mail/mailer.conf"] = Entry{Kind: File, Sum: "theirs"}
		}, []string{
			"rename /etc/mail/mailer.conf to /etc/mail/mailer.conf.before-postoffice: the mail server that was",
			"write /etc/mail/mailer.conf: mailwrapper reads there which mail server is meant",
			"write /etc/rc.conf.d/postoffice: rc starts it at boot", "write /usr/local/etc/rc.d/postoffice",
		}, ""},
		{"NetBSD", func(f *Facts) {
			f.Manager, f.MailerConf = NetBSD, "/etc/mailer.conf"
			f.has("mailwrapper", "")
		}, []string{
			"write /etc/mailer.conf: mailwrapper reads there which mail server is meant",
			"write /etc/rc.conf.d/postoffice: rc starts it at boot", "write /etc/rc.d/postoffice",
		}, ""},
		{"OpenBSD", func(f *Facts) {
			f.Manager, f.MailerConf, f.Live = OpenBSD, "/etc/mailer.conf", true
			f.has("mailwrapper", "")
		}, []string{
			"write /etc/mailer.conf: mailwrapper reads there which mail server is meant", "write /etc/rc.d/postoffice",
			"run rcctl enable postoffice: rc starts it at boot", "run /usr/local/sbin/postoffice restart: the server starts",
		}, ""},
		{"Alpine", func(f *Facts) {
			f.Packages, f.Manager, f.Running, f.Live = Apk, OpenRC, true, true
			f.Entries["/usr/sbin/sendmail"] = Entry{Kind: Symlink, Target: "/bin/busybox"}
			delete(f.Entries, "/var/mail")
			delete(f.Groups, "mail")
		}, append(append([]string{"make the directory /var/mail, mode 1777, of root:root"}, links[:3]...),
			"rename /usr/sbin/sendmail to /usr/sbin/sendmail.before-postoffice: busybox has it", links[3],
			"write /etc/init.d/postoffice", "make /etc/runlevels/default/postoffice a name of /etc/init.d/postoffice: OpenRC starts it at boot",
			"run rc-service postoffice restart: the server starts"), ""},
		{"Alpine with ssmtp", func(f *Facts) {
			f.Packages = Apk
			f.has("ssmtp", "ssmtp")
		}, nil, "/usr/bin/mailq belongs to the package ssmtp"},
		{"busybox", func(f *Facts) {
			f.Manager = RCS
			delete(f.Entries, "/var/mail")
		}, append(append([]string{"make the directory /var/mail, mode 2775, of root:mail"}, links...), "write /etc/init.d/S80postoffice: rcS starts it at boot"), ""},
		{"System V", func(f *Facts) {
			f.Manager = SysV
			for _, dir := range []string{"/etc/rc0.d", "/etc/rc2.d"} {
				f.Entries[dir] = Entry{Kind: Directory}
			}
		}, append(slices.Clone(links), "write /etc/init.d/postoffice", "make /etc/rc0.d/K30postoffice a name of ../init.d/postoffice", "make /etc/rc2.d/S80postoffice a name of ../init.d/postoffice"), ""},
		{"System V with insserv", func(f *Facts) { f.Manager, f.Insserv, f.Live = SysV, "/sbin/insserv", true }, append(slices.Clone(links),
			"write /etc/init.d/postoffice", "run /sbin/insserv -f postoffice: it starts at boot, after what its script asks for", "run /usr/local/sbin/postoffice restart: the server starts"), ""},
		{"System V with insserv, elsewhere", func(f *Facts) {
			f.Manager, f.Insserv = SysV, "/sbin/insserv"
			f.Entries["/etc/rc2.d"] = Entry{Kind: Directory}
		}, append(slices.Clone(links), "write /etc/init.d/postoffice", "make /etc/rc2.d/S80postoffice a name of ../init.d/postoffice", "in that root run: insserv -f postoffice"), ""},
		{"another's sendmail", func(f *Facts) { f.Entries["/usr/sbin/sendmail"] = Entry{Kind: File} }, nil, "/usr/sbin/sendmail belongs to another mail server"},
		{"the package", func(f *Facts) {
			f.Packages = Dpkg
			f.Entries["/usr/sbin/sendmail"] = Entry{Kind: Symlink, Target: "postoffice", Ours: true, Owner: "postoffice"}
		}, nil, "/usr/sbin/sendmail is postoffice's already"},
		{"Debian with something kept already", func(f *Facts) {
			f.Packages = Dpkg
			f.has("exim4", "exim4-daemon-light")
			f.Entries["/usr/sbin/sendmail.distrib"] = Entry{Kind: File}
		}, nil, "/usr/sbin/sendmail and /usr/sbin/sendmail.distrib are both there"},
		{"Debian whose package was removed", func(f *Facts) {
			f.Packages, f.Manager = Dpkg, Systemd
			f.Entries["/etc/systemd/system/postoffice.service"] = Entry{Kind: Symlink, Target: "/dev/null"}
		}, nil, "postoffice.service is masked"},
		{"a directory", func(f *Facts) { f.Entries["/usr/bin/mailq"] = Entry{Kind: Directory} }, nil, "/usr/bin/mailq is no file"},
		{"for a package", func(f *Facts) {
			*f = Facts{Prefix: "/usr", Bare: true, Entries: map[string]Entry{"/": {Kind: Directory}}}
		}, []string{
			"make the directory /usr, mode 0755, of root:root", "make the directory /usr/sbin, mode 0755, of root:root",
			"put the program at /usr/sbin/postoffice", "make /usr/sbin/sendmail a name of postoffice",
			"make the directory /usr/bin, mode 0755, of root:root", "make /usr/bin/mailq a name of /usr/sbin/postoffice",
			"make /usr/bin/newaliases a name of /usr/sbin/postoffice", "make /usr/sbin/runq a name of postoffice",
			"make /usr/sbin/smtpd a name of postoffice", "make /usr/sbin/authexpire a name of postoffice",
			"make /usr/sbin/send-mail a name of postoffice", "make /usr/bin/dbm a name of /usr/sbin/postoffice",
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			steps, refused := Install(theMachine(tt.facts))
			var why []string
			for _, r := range refused {
				why = append(why, r.What)
				if r.Do == "" {
					t.Errorf("%s: nothing says what to do", r.What)
				}
			}
			if all := strings.Join(why, "\n"); (all == "") != (tt.refused == "") || !strings.Contains(all, tt.refused) {
				t.Errorf("refused %q, want %q", all, tt.refused)
			}
			if diff := cmp.Diff(tt.want, words(steps)); diff != "" && tt.refused == "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			looked := Paths(theMachine(tt.facts))
			for _, s := range steps {
				if strings.HasPrefix(s.Path, "/") && !slices.Contains(looked, s.Path) {
					t.Errorf("%s is not among the paths to look at", s.Path)
				}
			}
		})
	}
}

// TestAgain: installed over itself only what may have changed is done again, what people
// have changed stays, and the record leads back to what was there first.
func TestAgain(t *testing.T) {
	debian := func(f *Facts) {
		f.Packages, f.Manager, f.Self = Dpkg, Systemd, "first"
		f.has("exim4", "exim4-daemon-light")
	}
	first, _ := Install(theMachine(debian))
	var record []*Step
	for _, s := range Merged(nil, first) { // through a file
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		read := new(Step)
		if err := json.Unmarshal(text, read); err != nil {
			t.Fatal(err)
		}
		record = append(record, read)
	}
	again := theMachine(debian)
	again.Record, again.Self = record, "second"
	again.Users["postoffice"], again.Users["postoffice-alias"] = true, true
	again.Groups["postoffice"], again.Groups["postoffice-alias"] = true, true
	for _, s := range first {
		switch {
		case s.Do == Link:
			again.Entries[s.Path] = Entry{Kind: Symlink, Ours: true}
		case s.Path == Config:
			again.Entries[s.Path] = Entry{Kind: File, Sum: "changed"}
		case s.Path != "":
			again.Entries[s.Path] = Entry{Kind: File, Sum: s.Sum}
		}
	}
	for _, at := range []string{"/usr/sbin/sendmail", "/usr/lib/sendmail", "/usr/bin/mailq", "/usr/bin/newaliases"} {
		again.Entries[at] = Entry{Kind: Symlink, Ours: true, Owner: "exim4-daemon-light"} // dpkg's lists have it still
	}
	second, refused := Install(again)
	if len(refused) > 0 {
		t.Fatal(refused)
	}
	for _, s := range second {
		if s.Do == Divert || s.Do == Group || s.Do == User || s.Do == Dir || s.Do == Write && s.Path == Config {
			t.Errorf("again: %v", s)
		}
	}
	merged := Merged(record, second)
	if i := slices.IndexFunc(merged, func(s *Step) bool { return s.Do == Copy }); record[i].Sum != "first" || merged[i].Sum != "second" {
		t.Errorf("the program's sum is recorded as %q, and then as %q", record[i].Sum, merged[i].Sum)
	}
	undo, stays := Uninstall(merged)
	place := func(do Verb, at string) int {
		return slices.IndexFunc(undo, func(s *Step) bool { return s.Do == do && s.Path == at })
	}
	if link, divert, program := place(Link, "/usr/sbin/sendmail"), place(Divert, "/usr/sbin/sendmail"), place(Copy, "/usr/local/sbin/postoffice"); link < 0 || divert != link+1 || program < divert {
		t.Errorf("taken back at %d, %d and %d: want the name, then what was there, then the program", link, divert, program)
	}
	if !slices.Contains(stays, QueueDir) || !slices.Contains(stays, ServerUser) || slices.Contains(stays, StateDir) {
		t.Errorf("stays: %q", stays)
	}
	again.Prefix = "/usr"
	if _, refused := Install(again); len(refused) == 0 || !strings.Contains(refused[0].Do, "--prefix /usr/local") {
		t.Errorf("below another prefix: refused %v", refused)
	}
}

// TestRunDirectory: a BSD, which has no /run, gets another run-dir.
func TestRunDirectory(t *testing.T) {
	for _, m := range []Manager{Systemd, OpenRC, SysV, RCS, Nobody, FreeBSD, NetBSD, OpenBSD} {
		steps, _ := Install(theMachine(func(f *Facts) { f.Manager = m }))
		i := slices.IndexFunc(steps, func(s *Step) bool { return s.Do == Write && s.Path == Config })
		if i < 0 {
			t.Fatalf("%s: no configuration", m)
		}
		want := m == FreeBSD || m == NetBSD || m == OpenBSD
		if got := strings.Contains(steps[i].Text, "\nrun-dir = /var/run/postoffice\n"); got != want {
			t.Errorf("%s: /var/run in the configuration: %v, want %v\n%s", m, got, want, steps[i].Text)
		}
	}
}

// TestHardLinks: names are the file itself.
func TestHardLinks(t *testing.T) {
	steps, _ := Install(theMachine(func(f *Facts) { f.Hard = true }))
	n := 0
	for _, s := range steps {
		if s.Do == Link {
			t.Error(s)
		}
		if s.Do == Hard && s.To == "/usr/local/sbin/postoffice" {
			n++
		}
	}
	if n != 12 {
		t.Errorf("%d names, want 12", n)
	}
}

// TestScriptsNameTheProgram: what is written starts the program where it is.
func TestScriptsNameTheProgram(t *testing.T) {
	for _, m := range []Manager{Systemd, OpenRC, SysV, RCS, FreeBSD, NetBSD, OpenBSD} {
		steps, _ := Install(theMachine(func(f *Facts) { f.Manager = m }))
		n := 0
		for _, s := range steps {
			if s.Do != Write {
				continue
			}
			if strings.Contains(s.Text, "/usr/local/sbin/postoffice") {
				n++
			}
			if strings.Contains(s.Text, " /usr/sbin/postoffice") {
				t.Errorf("%s: %s names /usr/sbin/postoffice", m, s.Path)
			}
		}
		if n == 0 {
			t.Errorf("%s: nothing starts the program", m)
		}
	}
}

// TestAccountsThere: of an account and its group that is made which isn't there.
func TestAccountsThere(t *testing.T) {
	steps, _ := Install(theMachine(func(f *Facts) { f.Users[ServerUser], f.Groups[AliasUser] = true, true }))
	var made []string
	for _, s := range steps {
		if s.Do == Group || s.Do == User {
			made = append(made, s.String())
		}
	}
	if diff := cmp.Diff([]string{"make the group postoffice", "make the account postoffice-alias, in the group postoffice-alias"}, made); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}
}
