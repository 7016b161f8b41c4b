package applets

import (
	"context"
	"iter"
	"os"
	"slices"
	"time"

	"postoffice/deliver"
	"postoffice/internal/control"
	"postoffice/internal/smtp"
	"postoffice/internal/sysexits"
)

// routeWait bounds the search for one route: DNS may be slow.
const routeWait = 2 * time.Minute

// route answers where a message would go. What another user has written into
// his files is for him and administrators.
func (s *system) route(ctx context.Context, p control.Peer, r control.Request) iter.Seq2[control.Step, error] {
	return func(yield func(control.Step, error) bool) {
		to, from, err := routeOf(r.Address, r.Sender)
		if err != nil {
			yield(control.Step{}, err)
			return
		}
		ctx, cancel := context.WithTimeout(ctx, routeWait)
		defer cancel()
		v := s.senders.Load().view(p.UID)
		for step := range s.runner.Router().DryRun(ctx, to, from) {
			if shown, ok := v.see(step); ok && !yield(shown, nil) {
				return
			}
		}
	}
}

// routeOf reads the addresses of a request.
func routeOf(address, sender string) (to, from smtp.Path, err error) {
	bad := func(what string, err error) error {
		return &control.Error{Code: sysexits.Usage, Text: what + ": " + err.Error()}
	}
	if to, err = smtp.ParseAddress(address); err != nil {
		return to, from, bad("address "+clean(address), err)
	}
	if sender != "" && sender != "<>" {
		if from, err = smtp.ParseAddress(sender); err != nil {
			return to, from, bad("sender "+clean(sender), err)
		}
	}
	return to, from, nil
}

// view is how much of a route somebody is shown.
type view struct {
	all    bool   // root, the server-user and trusted users
	user   string // the account that asks
	hidden int    // the depth from which on nothing is shown now, 0: all is
}

func (s senders) view(uid int) *view {
	user, _ := accountOf(uid)
	return &view{all: uid == 0 || uid == os.Getuid() || user != "" && slices.Contains(s.trusted, user), user: user}
}

// see is a step as it is shown, if it is. Whoever wrote a .forward, a personal
// alias file or a list in a file has not written it for everybody.
func (v *view) see(r deliver.RouteStep) (control.Step, bool) {
	if v.hidden > 0 && r.Depth >= v.hidden {
		return control.Step{}, false
	}
	v.hidden = 0
	s := stepOf(r)
	if v.all {
		return s, true
	}
	switch r.How {
	case deliver.RouteForward:
		s.Hidden = r.Name != v.user
	case deliver.RouteList, deliver.RouteUsermap:
		s.Hidden = true
	}
	if s.Hidden {
		v.hidden = r.Depth + 1
	}
	return s, true
}

// stepOf is a step as clients see it: foreign text is printable.
func stepOf(r deliver.RouteStep) control.Step {
	s := control.Step{
		Depth: r.Depth, Recipient: clean(r.Recipient), File: clean(r.File), Line: r.Line, How: r.How, Name: clean(r.Name), Again: r.Again, Sender: clean(r.Sender),
		User: clean(r.User), UID: r.UID, Extension: clean(r.Extension), Way: clean(r.Way), RelayHost: clean(r.RelayHost),
		Code: r.Code, Status: clean(r.Status), Reason: clean(r.Reason), Permanent: r.Permanent,
	}
	for _, h := range r.Hosts {
		s.Hosts = append(s.Hosts, control.Host{Name: clean(h.Name), Port: h.Port, Addrs: h.Addrs})
	}
	return s
}
