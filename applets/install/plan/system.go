package plan

import (
	"path"
	"strings"

	"postoffice/packaging"
)

// mailerConf has the system's mailwrapper run the program, whose names stay as they are.
// A mailwrapper leaves argv[0] as it was called.
func (p *planner) mailerConf() {
	at := p.f.MailerConf
	var b strings.Builder
	b.WriteString("# postoffice takes sendmail's place: mailer.conf(5)\n")
	for _, called := range []string{"sendmail", "send-mail", "mailq", "newaliases"} {
		b.WriteString(called + "\t" + p.f.Program() + "\n")
	}
	text := b.String()
	e := p.entry(at)
	if e.Kind != Missing && e.Sum != Sum(text) && e.Sum != p.written(at) {
		p.add(Move, at, at+before, "the mail server that was")
	}
	s := p.file(Write, at, "", "mailwrapper reads there which mail server is meant")
	s.Text, s.Sum, s.Mode = text, Sum(text), 0o644
}

// alternatives has Red Hat's alternatives lead to the program.
func (p *planner) alternatives(places []string) {
	const main = "/usr/sbin/sendmail"
	argv := []string{p.f.Alternatives, "--install", main, "mta", p.f.Program(), priority}
	for _, at := range places {
		e := p.entry(at)
		switch {
		case e.Kind == Missing || e.Ours:
		case e.Kind == Symlink && path.Dir(e.Target) == "/etc/alternatives":
		case e.Owner != "":
			p.refuse(at+" belongs to the package "+e.Owner+", which knows no alternatives", "remove that package first: "+p.removal(e.Owner))
		default:
			p.refuse(at+" is no alternative and no package's", "see what it is, and move it away: mv "+at+" "+at+".old")
		}
		if at != main {
			called := "mta-" + path.Base(at)
			if at == oldSendmail {
				called = "mta-sendmail"
			}
			argv = append(argv, "--slave", at, called, p.f.Program())
		}
	}
	p.run("Red Hat's way to choose between mail servers", argv, []string{p.f.Alternatives, "--remove", "mta", p.f.Program()})
}

// service has the server started at boot, and now where that can be.
func (p *planner) service() {
	start, stop := []string{p.f.Program(), "restart"}, []string{p.f.Program(), "stop"}
	switch p.f.Manager {
	case Systemd:
		const dir, unit = "/etc/systemd/system/", "postoffice.service"
		if e := p.entry(dir + unit); e.Kind == Symlink && e.Target == "/dev/null" { // a package that was removed and not purged leaves it so
			p.refuse(unit+" is masked: nothing may start it", "apt-get purge postoffice, where the package was removed, or systemctl unmask "+unit)
		}
		reload := []string{"systemctl", "daemon-reload"}
		if p.f.Running { // for the way back: what comes first is undone last
			p.run("", reload, reload)
			start, stop = []string{"systemctl", "restart", unit}, []string{"systemctl", "stop", unit}
		}
		p.text(dir+unit, packaging.Unit, 0o644, "")
		p.text(dir+"postoffice.socket", packaging.SocketUnit, 0o644, "it is not enabled")
		p.file(Link, dir+"multi-user.target.wants/"+unit, dir+unit, "systemd starts it at boot")
		if p.f.Running {
			p.run("", reload, nil)
		}
	case OpenRC:
		p.text(script, packaging.OpenRC, 0o755, "")
		p.file(Link, "/etc/runlevels/default/postoffice", script, "OpenRC starts it at boot")
		if p.f.Running {
			start, stop = []string{"rc-service", "postoffice", "restart"}, []string{"rc-service", "postoffice", "stop"}
		}
	case SysV:
		p.sysv()
	case RCS:
		p.text("/etc/init.d/S80postoffice", packaging.SysV, 0o755, "rcS starts it at boot")
	case FreeBSD, NetBSD, OpenBSD:
		p.bsd()
	default:
		p.say("nothing that is known here starts services at boot: have it run %s/sbin/smtpd", p.f.Prefix)
	}
	if p.f.Live {
		p.run("the server starts", start, stop)
	}
}

// script is where init scripts are.
const script = "/etc/init.d/postoffice"

// sysv has it started by init scripts. Where insserv orders them, rc starts what insserv has
// listed, and looks at no number of a link.
func (p *planner) sysv() {
	p.text(script, packaging.SysV, 0o755, "")
	if p.f.Insserv != "" && p.f.Live {
		p.run("it starts at boot, after what its script asks for", []string{p.f.Insserv, "-f", "postoffice"}, []string{p.f.Insserv, "-f", "-r", "postoffice"})
		return
	}
	for _, level := range "0123456" {
		dir := "/etc/rc" + string(level) + ".d"
		link := dir + "/K30postoffice"
		if level >= '2' && level <= '5' {
			link = dir + "/S80postoffice"
		}
		if p.entry(dir).Kind != Missing {
			p.file(Link, link, "../init.d/postoffice", "")
		} else {
			p.entry(link)
		}
	}
	if p.f.Insserv != "" {
		p.say("in that root run: insserv -f postoffice")
	}
}

// bsd has it started by rc.d.
func (p *planner) bsd() {
	const conf, why = "/etc/rc.conf.d/postoffice", "rc starts it at boot"
	at, text := "/etc/rc.d/postoffice", packaging.RCD
	switch p.f.Manager {
	case FreeBSD:
		if p.f.Prefix != "/usr" {
			at = p.f.Prefix + at
		}
		p.text(conf, "postoffice_enable=YES\n", 0o644, why)
	case NetBSD:
		p.text(conf, "postoffice=YES\n", 0o644, why)
	case OpenBSD:
		text = packaging.RCDOpenBSD
	}
	p.text(at, text, 0o755, "")
	switch {
	case p.f.Manager != OpenBSD:
	case p.f.Live:
		p.run(why, []string{"rcctl", "enable", "postoffice"}, []string{"rcctl", "disable", "postoffice"})
	default:
		p.say("in that root run: rcctl enable postoffice")
	}
}
