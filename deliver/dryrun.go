package deliver

import (
	"context"
	"encoding/hex"
	"iter"

	"postoffice/deliver/local"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

// What a RouteStep may say of its recipient.
const (
	RouteAlias   = "alias"   // it is an alias, and the steps one deeper are its targets
	RouteUsermap = "usermap" // the same by option usermap or a personal alias file
	RouteForward = "forward" // the same by the user's .forward
	RouteList    = "list"    // the same by a list in a file
	RouteMailbox = "mailbox" // a user's mailbox
	RouteProgram = "program" // a program is run
	RouteFile    = "file"    // a file is appended to
	RouteRemote  = "remote"  // another machine
	RouteFailure = "failure" // it can't be delivered, now or ever
)

// A RouteStep is one recipient that an address leads to, and what becomes of it.
type RouteStep struct {
	Depth     int    `json:"depth"`           // 0 is the address that was asked for; targets follow their alias one deeper
	Recipient string `json:"recipient"`       // an address, \user, or an item as it may stand in an alias file
	File      string `json:"file,omitempty"`  // where it stands; not that of Depth 0, nor of what option usermap says
	Line      int    `json:"line,omitempty"`  // in File, counted from 1
	How       string `json:"how"`             // one of the Route words
	Name      string `json:"name,omitempty"`  // of an alias, usermap or list: its name; of a forward the user; of an item whose it is
	Again     bool   `json:"again,omitempty"` // a list that has been expanded above: a message goes through it once
	Sender    string `json:"sender"`          // the reverse-path it would go out with: an owner's, perhaps

	User      string `json:"user,omitempty"` // who writes the mailbox or file, or runs the program
	UID       int    `json:"uid"`            // his; -1 where there is no user, or he is not known now
	Extension string `json:"extension,omitempty"`
	Way       string `json:"way,omitempty"`    // of a mailbox elsewhere than in mail-dir: "mailer", or what option mailbox says
	Source    string `json:"source,omitempty"` // of an item, as the queue names it: alias, forward or usermap
	Hash      string `json:"sha256,omitempty"` // the same, beside Name

	RelayHost string      `json:"relay_host,omitempty"` // of a remote one: the option, where it decides
	Hosts     []RouteHost `json:"hosts,omitempty"`      // in the order in which they would be tried

	Code      int    `json:"code,omitempty"` // of a failure: reply code, enhanced status code, and why
	Status    string `json:"status,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Permanent bool   `json:"permanent,omitempty"` // it would go back to the sender at once
}

// A RouteHost is a host that takes mail, with its addresses in their order.
type RouteHost struct {
	Name  string   `json:"name"`
	Port  int      `json:"port"`
	Addrs []string `json:"addresses"`
}

// DryRun yields where a message for to, with this reverse-path, would go: each
// recipient before what it is expanded to. Nothing is sent or recorded, but
// users' files are read and DNS is asked, as a delivery would. It takes the
// same steps as the queue run (Resolve).
func (r *Router) DryRun(ctx context.Context, to, from smtp.Path) iter.Seq[RouteStep] {
	return func(yield func(RouteStep) bool) {
		d := dryRun{ctx: ctx, s: &settings{Options: r.o, router: r}, yield: yield, lists: map[spool.Agent]bool{}}
		d.walk(&Lead{Path: to, ReversePath: from}, RouteStep{Recipient: to.String()}, new(int))
	}
}

// dryRun is one walk. Its methods return false when nobody wants more.
type dryRun struct {
	ctx   context.Context
	s     *settings
	yield func(RouteStep) bool
	lists map[spool.Agent]bool // their members have been shown
}

// walk follows one lead; at says where it stands, and added counts what is
// below the same recipient.
func (d *dryRun) walk(l *Lead, at RouteStep, added *int) bool {
	r := d.s.router
	l.Added = *added
	at.Sender, at.UID = l.ReversePath.String(), -1
	if l.Agent != nil {
		at.Source, at.Name, at.Hash = string(l.Agent.Source), l.Agent.Name, hex.EncodeToString(l.Agent.Hash[:])
	}
	step := r.Resolve(d.ctx, l)
	if step.Kind == StepRemote {
		rt := d.s.findRoute(d.ctx, d.s.routeName(l.Path.Domain))
		switch {
		case rt.failure != nil:
			step = failed(*rt.failure)
		case !rt.local:
			return d.remote(at, rt)
		default:
			step = r.ResolveHere(d.ctx, l)
		}
	}
	if step.Kind == StepMailbox && !step.Final {
		step = d.forward(step)
	}
	if step.Kind == StepAsk {
		if step = r.Ask(d.ctx, l, step); step.Kind == StepExpand && d.again(l) {
			step.Targets, at.Again = nil, true
		}
	}
	switch step.Kind {
	case StepExpand:
		return d.expand(l, at, step, added)
	case StepMailbox:
		at.How, at.User, at.UID, at.Extension = RouteMailbox, step.Account.Name, step.Account.UID, step.Extension
		if at.Way = d.s.Mailbox; d.s.boxWay(&target{errand: &errand{step: step}}) == byProgram {
			at.Way = "mailer"
		}
		return d.show(at)
	case StepRun:
		return d.run(at, step)
	}
	at.How = RouteFailure
	o := step.Outcome
	at.Code, at.Status, at.Reason, at.Permanent = o.Reply.Code, dsn(o), o.Reply.Text, o.Action == Bounced
	if o.Err != nil {
		at.Reason = joined(at.Reason, printable(o.Err.Error(), 500))
	}
	return d.show(at)
}

// again says whether a list has been expanded before: a message goes through it
// once.
func (d *dryRun) again(l *Lead) bool {
	if l.Agent == nil {
		return false
	}
	before := d.lists[*l.Agent]
	d.lists[*l.Agent] = true
	return before
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + ": " + b
}

// forward asks whether a mailbox's user has a .forward.
func (d *dryRun) forward(s Step) Step {
	has, err := d.s.Local.Forwards(d.ctx, s.Account.Name, s.Extension)
	switch {
	case err != nil:
		return failed(cantAsk(s.AskForward().Via, err))
	case has:
		return s.AskForward()
	}
	return s
}

// expand yields an alias and the like, and then its targets.
func (d *dryRun) expand(l *Lead, at RouteStep, s Step, added *int) bool {
	at.How, at.Name = string(s.Via.Source), s.Via.Name
	if !d.show(at) {
		return false
	}
	if s.Via.Source != spool.FromList {
		*added += len(s.Targets)
	}
	for i, line := range s.Targets {
		t := s.target(i)
		child := &Lead{Kind: t.Kind, Path: t.Path, Agent: t.Agent, Via: s.Via, From: l, ReversePath: l.ReversePath}
		if s.ReversePath != nil {
			child.ReversePath = *s.ReversePath
		}
		n := added
		if s.Via.Source == spool.FromList {
			n = new(int)
		}
		at := RouteStep{Depth: at.Depth + 1, Recipient: line.String(), File: line.File, Line: line.Line}
		if line.Kind == alias.File {
			at.How = RouteFile
		}
		if !d.walk(child, at, n) {
			return false
		}
	}
	return true
}

// show yields a step. What users wrote, or their processes say that they did,
// reaches terminals: it is made harmless (A25).
func (d *dryRun) show(s RouteStep) bool {
	for _, text := range []*string{&s.Recipient, &s.File, &s.Name, &s.Sender, &s.User, &s.Extension, &s.Reason} {
		*text = printable(*text, 2000)
	}
	return d.yield(s)
}

// run yields a program or a file.
func (d *dryRun) run(at RouteStep, s Step) bool {
	if at.How != RouteFile {
		at.How = RouteProgram
		if _, err := d.s.Local.List(d.ctx, local.Listing{User: s.User, Item: s.Item, Extension: s.Extension}); err != nil {
			at.How, at.Code, at.Status = RouteFailure, 450, "4.3.5"
			at.Reason = "program can't be started: " + printable(err.Error(), 500)
		}
	}
	at.User, at.Extension = s.User, s.Extension
	if a, err := d.s.Accounts.Lookup(d.ctx, s.User); err == nil {
		at.UID = a.UID
	}
	return d.show(at)
}

// remote yields the hosts of a next hop.
func (d *dryRun) remote(at RouteStep, rt route) bool {
	at.How, at.RelayHost = RouteRemote, d.s.RelayHost
	for _, t := range rt.targets {
		h := RouteHost{Name: t.Host, Port: t.Port}
		for _, a := range t.Addrs {
			h.Addrs = append(h.Addrs, a.String())
		}
		at.Hosts = append(at.Hosts, h)
	}
	return d.show(at)
}
