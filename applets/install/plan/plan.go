package plan

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"postoffice/packaging"
)

// Where things are, whatever the prefix.
const (
	Config    = "/etc/postoffice.cf"
	StateDir  = "/var/lib/postoffice"
	Record    = StateDir + "/installed" // what was done, for who takes it back
	QueueDir  = "/var/spool/postoffice"
	mailDir   = "/var/mail"
	mailSpool = "/var/spool/mail"
)

// The accounts: of the server, and of programs of the alias file.
const (
	ServerUser = "postoffice"
	AliasUser  = "postoffice-alias"
)

// ourPackage is what our packages are called.
const ourPackage = "postoffice"

// before is behind the name of what has made room.
const before = ".before-postoffice"

// diverted is behind the name of what dpkg keeps elsewhere.
const diverted = ".distrib"

// priority is that of Red Hat's alternative.
const priority = "90"

// name is one of the program's names.
type name struct {
	dir, file string // below the prefix
	system    string // where programs look for it, whatever the prefix; "": nowhere else
}

// names are all but the program's own.
var names = []name{
	{"sbin", "sendmail", "/usr/sbin/sendmail"},
	{"bin", "mailq", "/usr/bin/mailq"},
	{"bin", "newaliases", "/usr/bin/newaliases"},
	{"sbin", "runq", ""},
	{"sbin", "smtpd", ""},
	{"sbin", "authexpire", ""},
	{"sbin", "send-mail", ""},
	{"bin", "dbm", ""},
}

// oldSendmail is where programs look that are older than /usr/sbin.
const oldSendmail = "/usr/lib/sendmail"

// planner gathers steps, and which names were asked for.
type planner struct {
	f        *Facts
	steps    []*Step
	refusals []Refusal
	looked   map[string]bool
	made     map[string]bool // directories
}

// Program is where the program itself is.
func (f *Facts) Program() string { return f.Prefix + "/sbin/postoffice" }

// install plans all. It asks for the same names whatever it finds there.
func (p *planner) install() {
	p.made = map[string]bool{}
	for _, s := range p.f.Record {
		if s.Do == Copy && s.Path != p.f.Program() {
			prefix := path.Dir(path.Dir(s.Path))
			p.refuse("it is installed below "+prefix+" already", "take that back first, postoffice uninstall, or install there again: --prefix "+prefix)
		}
	}
	if e := p.entry("/usr/sbin/" + ourPackage); e.Owner == ourPackage && !p.f.Bare {
		p.refuse("the package "+ourPackage+" is installed", "remove that package first, or install the next version of it: "+p.removal(e.Owner))
	}
	if p.f.Live && p.f.Listens {
		p.refuse("another mail server answers at port 25 of this machine",
			"stop it and keep it from starting, as with: systemctl disable --now exim4 (or postfix, sendmail), or its init script; ss -ltnp 'sport = 25' shows which one it is")
	}
	if !p.f.Bare {
		p.accounts()
		p.directories()
	}
	program := p.file(Copy, p.f.Program(), "", "")
	program.Mode, program.Sum = 0o755, p.f.Self
	p.names()
	if !p.f.Bare {
		config := packaging.Config
		if p.f.Packages == Dpkg {
			config += packaging.MailName
		}
		if p.f.Manager.ofBSD() {
			config += packaging.RunDir
		}
		p.text(Config, config, 0o644, "a first configuration, for this machine alone")
		p.system()
		p.service()
	}
}

// entry is what stands at a name.
func (p *planner) entry(name string) Entry {
	if !path.IsAbs(name) {
		return Entry{}
	}
	for dir := name; !p.looked[dir]; dir = path.Dir(dir) {
		p.looked[dir] = true
	}
	return p.f.Entries[name]
}

func (p *planner) sorted() []string { return slices.Sorted(maps.Keys(p.looked)) }

func (p *planner) refuse(what, do string) { p.refusals = append(p.refusals, Refusal{what, do}) }

// add plans a step.
func (p *planner) add(do Verb, at, to, why string) *Step {
	s := &Step{Do: do, Path: at, To: to, Why: why}
	p.steps = append(p.steps, s)
	return s
}

// run plans one that runs a program; back takes that back, nil: nothing does.
func (p *planner) run(why string, argv, back []string) {
	s := p.add(Run, "", "", why)
	s.Argv, s.Back = argv, back
}

func (p *planner) say(format string, args ...any) {
	p.add(Say, "", "", fmt.Sprintf(format, args...))
}

// accounts are that of the server and that of programs of aliases, each in a group of its
// own.
func (p *planner) accounts() {
	for _, a := range []struct{ name, home string }{{ServerUser, QueueDir}, {AliasUser, "/nonexistent"}} {
		if !p.f.Groups[a.name] { // also beside an account that is there: the queue and a unit of systemd name it
			p.add(Group, a.name, "", "")
		}
		if p.f.Users[a.name] {
			continue
		}
		s := p.add(User, a.name, a.home, "")
		s.Group, s.Argv = a.name, []string{p.f.NoLogin}
	}
}

// directories are those of the queue, of what is known again, where the record is, and of
// mailboxes, where there are none.
func (p *planner) directories() {
	if p.entry(QueueDir).Kind == Missing {
		s := p.dir(QueueDir, 0o700)
		s.Owner, s.Group = ServerUser, ServerUser
	}
	if p.entry(StateDir).Kind == Missing {
		p.dir(StateDir, 0o755)
	}
	box, spool := p.entry(mailDir), p.entry(mailSpool)
	switch {
	case box.Kind != Missing:
		// Whatever it is, somebody wants it so.
	case p.f.Packages == RPM:
		if spool.Kind == Missing {
			p.dir(mailSpool, 0o777|fs.ModeSticky)
		}
		p.parents(mailDir)
		p.add(Link, mailDir, "spool/mail", "where mailboxes are")
	case p.f.Groups["mail"]:
		p.dir(mailDir, 0o775|fs.ModeSetgid).Group = "mail"
	default:
		p.dir(mailDir, 0o777|fs.ModeSticky)
	}
}

// dir makes a directory and those above it.
func (p *planner) dir(at string, mode fs.FileMode) *Step {
	p.parents(at)
	p.made[at] = true
	s := p.add(Dir, at, "", "")
	s.Mode = mode
	return s
}

// parents makes the directories above a name.
func (p *planner) parents(name string) {
	dir := path.Dir(name)
	if dir == "/" || p.entry(dir).Kind != Missing || p.made[dir] {
		return
	}
	p.dir(dir, 0o755)
}

// names are the program's names below the prefix; those that belong to the system are made
// by system, where they are the same.
func (p *planner) names() {
	for _, n := range names {
		at := p.f.Prefix + "/" + n.dir + "/" + n.file
		if p.f.Prefix == "/usr" && n.system != "" && !p.f.Bare {
			continue
		}
		p.take(at)
	}
}

// system has the system's own places lead to the program, in the way of that system.
func (p *planner) system() {
	places := []string{oldSendmail}
	for _, n := range names {
		if n.system != "" {
			places = append(places, n.system)
		}
	}
	slices.Sort(places)
	switch {
	case p.f.MailerConf != "":
		p.mailerConf()
	case p.f.Alternatives != "":
		p.alternatives(places)
	default:
		for _, at := range places {
			if p.f.Packages == Dpkg && p.entry(at).Kind == Missing { // else a mail server that comes later takes it
				p.add(Divert, at, at+diverted, "whatever package brings one")
			}
			p.take(at)
		}
	}
}

// take makes a name of ours at a place, and keeps what stands there for who takes that
// back.
func (p *planner) take(at string) {
	e, kept := p.entry(at), p.entry(at+diverted)
	switch {
	case e.Ours && e.Owner == ourPackage: // a file that was diverted stays its package's in dpkg's lists
		p.refuse(at+" is postoffice's already, of the package "+e.Owner, "remove that package first, or install the next version of it: "+p.removal(e.Owner))
		return
	case e.Kind == Missing || e.Ours:
	case e.Kind == Directory || e.Kind == Special:
		p.refuse(at+" is no file and no link", "see what it is, and move it away: mv "+at+" "+at+".old")
		return
	case e.busybox():
		p.add(Move, at, at+before, "busybox has it")
	case p.f.Packages == Dpkg && !p.f.Bare && kept.Kind != Missing:
		p.refuse(fmt.Sprintf("%s and %[1]s%s are both there", at, diverted), "see which one is wanted, and move the other away: dpkg-divert --list; mv "+at+diverted+" "+at+".old")
		return
	case p.f.Packages == Dpkg && !p.f.Bare:
		p.add(Divert, at, at+diverted, owned(e, "another mail server's"))
	case e.Owner != "":
		p.refuse(fmt.Sprintf("%s belongs to the package %s", at, e.Owner), "remove that package first: "+p.removal(e.Owner))
		return
	default:
		p.refuse(at+" belongs to another mail server", "remove that server first, or keep it and move this aside: mv "+at+" "+at+".old")
		return
	}
	p.link(at)
}

// owned is whose something is.
func owned(e Entry, otherwise string) string {
	if e.Owner == "" {
		return "it is " + otherwise
	}
	return "it is the package " + e.Owner + "'s"
}

// removal is how a package is removed.
func (p *planner) removal(pkg string) string {
	switch p.f.Packages {
	case RPM:
		return "rpm -e " + pkg
	case Apk:
		return "apk del " + pkg
	}
	return "apt-get remove " + pkg
}

// link makes a name of the program.
func (p *planner) link(at string) {
	do, to := Link, p.f.Program()
	switch {
	case p.f.Hard:
		do = Hard
	case path.Dir(at) == path.Dir(to):
		to = path.Base(to)
	}
	p.file(do, at, to, "")
}

// file makes a file or name, and the directories above it.
func (p *planner) file(do Verb, at, to, why string) *Step {
	p.entry(at)
	p.parents(at)
	return p.add(do, at, to, why)
}

// text writes a file of packaging, with the program where it is; what people have changed
// stays.
func (p *planner) text(at, text string, mode fs.FileMode, why string) {
	text = strings.ReplaceAll(text, "/usr/sbin/postoffice", p.f.Program())
	sum := Sum(text)
	switch e := p.entry(at); {
	case e.Kind == Missing || e.Sum == sum || e.Kind == File && e.Sum == p.written(at):
		s := p.file(Write, at, "", why)
		s.Text, s.Sum, s.Mode = text, sum, mode
	case at == Config:
		p.say("%s stays as it is", at)
	default:
		p.say("%s stays as it is, since it is not as an installation left it", at)
	}
}

// written is the sum of what an earlier install wrote there.
func (p *planner) written(name string) string {
	for _, s := range p.f.Record {
		if s.Do == Write && s.Path == name {
			return s.Sum
		}
	}
	return "-"
}

// Sum tells one text of a file from another.
func Sum(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
