package policy

import (
	"context"
	"fmt"
	"log/slog"

	"postoffice/applets/policy/hosts"
	"postoffice/applets/smtpd"
	"postoffice/internal/maillog"
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
	if h != nil && h.allow.path == o.HostsAllow && h.deny.path == o.HostsDeny {
		return h
	}
	return &hostsFiles{allow: newHostsFile(o.HostsAllow, missedAllow), deny: newHostsFile(o.HostsDeny, missedDeny)}
}

// hostsFile is one of them.
type hostsFile struct {
	watchedFile
	table *hosts.Table
	told  string // the problems that the log has
}

func newHostsFile(path, missed string) *hostsFile {
	return &hostsFile{watchedFile: watchedFile{path: path, most: maxHostsFile, missed: missed}}
}

// get returns the rules of the file, read again if it has changed. One that isn't
// there is as an empty one (hosts_access(5)).
func (f *hostsFile) get(log *slog.Logger) *hosts.Table {
	if f.path == "" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh(func(text string) {
		var problems []hosts.Problem
		f.table, problems = hosts.Parse(text, f.named)
		if told := fmt.Sprint(problems); told != f.told {
			f.told = told
			f.tell(log, problems)
		}
	}, func(err error) {
		log.LogAttrs(context.Background(), slog.LevelError, "hosts file unreadable", maillog.File(f.path), maillog.Err(err), maillog.Reason(f.advice(err)))
	})
	if f.table == nil && f.failed != "" {
		return hosts.Unread()
	}
	return f.table
}

// tell writes the problems of a file into the log.
func (f *hostsFile) tell(log *slog.Logger, problems []hosts.Problem) {
	for i, p := range problems {
		if i == maxTold {
			log.LogAttrs(context.Background(), slog.LevelWarn, "hosts file not understood", maillog.File(f.path),
				maillog.Err(fmt.Errorf("%d lines more", len(problems)-i)), maillog.Reason("postoffice config --check names all of them"))
			return
		}
		log.LogAttrs(context.Background(), slog.LevelWarn, "hosts file not understood", maillog.File(fmt.Sprintf("%s:%d", f.path, p.Line)), maillog.Err(p.Err))
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
// that isn't there is empty. The error says what is missed while it can't be read, and
// what to do. deny: it is hosts.deny.
func CheckHosts(path string, deny bool) ([]hosts.Problem, error) {
	missed := missedAllow
	if deny {
		missed = missedDeny
	}
	text, err := checked(path, maxHostsFile, missed)
	if err != nil || text == "" {
		return nil, err
	}
	_, problems := hosts.Parse(text, func(path string) (string, error) {
		text, _, err := readSmall(path, maxHostsFile)
		return text, err
	})
	return problems, nil
}
