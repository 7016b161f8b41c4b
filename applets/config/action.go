package config

import (
	"strings"

	"postoffice/internal/smtp"
)

// Action is what becomes of mail that a check finds bad.
type Action struct {
	Take   bool   // it is taken, and marked
	Folder string // and goes into this folder: "~/path" or a name; "": into the mailbox
	Why    string // what the client is told of a refusal; "": the check's own words
}

func (a Action) String() string {
	switch {
	case a.Folder != "":
		return "folder:" + a.Folder
	case a.Take:
		return "accept"
	case a.Why != "":
		return "bounce:" + a.Why
	}
	return "bounce"
}

// actionValue is an Action.
type actionValue struct {
	scalar
	p *Action
}

func (v actionValue) want() string   { return "bounce, bounce:why, accept or folder:~/path" }
func (v actionValue) String() string { return v.p.String() }

func (v actionValue) set(s string) error {
	how, more, with := strings.Cut(s, ":")
	a := Action{}
	switch smtp.Fold(how) {
	case "bounce":
		a.Why = strings.TrimSpace(more)
	case "accept":
		a.Take = true
		if with {
			return wrong(v, s)
		}
	case "folder":
		folder, ok := mailbox(more)
		if !ok && more != "" && !strings.Contains(more, "/") && more != "." && more != ".." && more[0] != '~' {
			folder, ok = more, true
		}
		if !ok || strings.HasPrefix(folder, "lmtp:") {
			return wrong(v, s)
		}
		a.Take, a.Folder = true, folder
	default:
		return wrong(v, s)
	}
	*v.p = a
	return nil
}
