package policy

import (
	"context"
	"fmt"
	"log/slog"

	"postoffice/applets/policy/hosts"
	"postoffice/applets/smtpd"
	"postoffice/internal/maillog"
	"postoffice/internal/watched"
)

// maxHostsFile bounds a file that is read, in octets.
const maxHostsFile = 16 << 20

// maxTold is how many lines of a file that are wrong the log names; config --check
// names all of them.
const maxTold = 20

// What becomes of clients while nothing is known of a file.
const (
	missedAllow = "until it can be read, whom hosts-deny denies is asked to come again"
	missedDeny  = "until it can be read, it denies nobody"
)

// hostsFiles are the two files as they were read last. A file that can't be read
// keeps what it said before. Where nothing is known of hosts.deny, nobody is judged
// by it, as with tcpd(8); where nothing is known of hosts.allow, whom hosts.deny
// denies is asked to come again.
type hostsFiles struct {
	allow *hostsFile
	deny  *hostsFile
}

// follow returns the files that options name, with what is known of them.
func (h *hostsFiles) follow(o Options) *hostsFiles {
	if h != nil && h.allow.Path == o.HostsAllow && h.deny.Path == o.HostsDeny {
		return h
	}
	return &hostsFiles{allow: newHostsFile(o.HostsAllow, missedAllow, o.AllowMust), deny: newHostsFile(o.HostsDeny, missedDeny, o.DenyMust)}
}

// hostsFile is one of them.
type hostsFile struct {
	watched.File[*hosts.Table]
	told string // the problems that the log has
}

func newHostsFile(path, missed string, must bool) *hostsFile {
	return &hostsFile{File: watched.File[*hosts.Table]{Path: path, Most: maxHostsFile, Missed: missed, Must: must}}
}

// get returns the rules of the file, read again if it has changed. One that isn't
// there, and need not be, is as an empty one (hosts_access(5)).
func (f *hostsFile) get(log *slog.Logger) *hosts.Table {
	if f.Path == "" {
		return nil
	}
	table, known := f.Get(func(text string) *hosts.Table {
		table, problems := hosts.Parse(text, f.Named)
		if told := fmt.Sprint(problems); told != f.told {
			f.told = told
			f.tell(log, problems)
		}
		return table
	}, func(err error, advice string) {
		log.LogAttrs(context.Background(), slog.LevelError, "hosts file unreadable", maillog.File(f.Path), maillog.Err(err), maillog.Reason(advice))
	})
	if !known {
		return hosts.Unread()
	}
	return table
}

// tell writes the problems of a file into the log.
func (f *hostsFile) tell(log *slog.Logger, problems []hosts.Problem) {
	for i, p := range problems {
		if i == maxTold {
			log.LogAttrs(context.Background(), slog.LevelWarn, "hosts file not understood", maillog.File(f.Path),
				maillog.Err(fmt.Errorf("%d lines more", len(problems)-i)), maillog.Reason("postoffice config --check names all of them"))
			return
		}
		log.LogAttrs(context.Background(), slog.LevelWarn, "hosts file not understood", maillog.File(fmt.Sprintf("%s:%d", f.Path, p.Line)), maillog.Err(p.Err))
	}
}

// byHostsFiles asks hosts.allow and hosts.deny.
func (s *session) byHostsFiles(context.Context, asked) smtpd.Verdict {
	c := s.client
	v := hosts.Judge(s.p.hosts.allow.get(s.o.Log), s.p.hosts.deny.get(s.o.Log), hosts.Client{
		Addr: c.Addr.Addr(), Name: c.Name, Forged: c.Naming == smtpd.Forged, Unsure: c.Naming == smtpd.Uncertain, Server: c.Server.Addr(),
	})
	switch {
	case !v.Denied:
		return smtpd.Verdict{}
	case v.Unsure:
		return notKnown(atConnect)
	case v.Reason == "" && s.o.Forbidden.Why != "":
		v.Reason = s.o.Forbidden.Why
	case v.Reason == "":
		v.Reason = "the administrator has closed this server to it; ask postmaster by another way"
	}
	denied := s.deny(v.Reason)
	if v.Cut && !denied.Accepted() {
		denied.Refuse, denied.Reply.Code = false, 521 // RFC 7504
	}
	return denied
}

// CheckHosts returns what is wrong in a file of the language of hosts_access(5). One
// that isn't there is empty, but where it must be. The error says what is missed while it
// can't be read, and what to do. deny: it is hosts.deny.
func CheckHosts(path string, deny, must bool) ([]hosts.Problem, error) {
	missed := missedAllow
	if deny {
		missed = missedDeny
	}
	text, err := watched.Check(path, maxHostsFile, missed, must)
	if err != nil || text == "" {
		return nil, err
	}
	_, problems := hosts.Parse(text, func(path string) (string, error) { return watched.Read(path, maxHostsFile) })
	return problems, nil
}
