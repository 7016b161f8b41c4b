package route

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// What a DryStep may say of its recipient.
const (
	HowAlias   = "alias"   // it is an alias, and the steps one deeper are its targets
	HowUsermap = "usermap" // the same by option usermap or a personal alias file
	HowForward = "forward" // the same by the user's .forward
	HowList    = "list"    // the same by a list in a file
	HowMailbox = "mailbox" // a user's mailbox
	HowProgram = "program" // a program is run
	HowFile    = "file"    // a file is appended to
	HowRemote  = "remote"  // another machine
	HowFailure = "failure" // it can't be delivered, now or ever
	HowCut     = "cut"     // it and what comes behind it was not looked at: MaxDrySteps were
)

// MaxDrySteps is how many recipients a dry run looks at: each may cost a question to
// DNS or a look into a home directory, and anybody may ask.
const MaxDrySteps = 1000

// A DryStep is one recipient that an address leads to, and what becomes of it.
type DryStep struct {
	Depth     int    `json:"depth"`           // 0 is the address that was asked for; targets follow their alias one deeper
	Recipient string `json:"recipient"`       // an address, \user, or an item as it may stand in an alias file
	File      string `json:"file,omitempty"`  // where it stands; not that of Depth 0, nor of what option usermap says
	Line      int    `json:"line,omitempty"`  // in File, counted from 1
	How       string `json:"how"`             // one of the How words
	Name      string `json:"name,omitempty"`  // of an alias, usermap or list: its name; of a forward the user; of an item whose it is
	Again     bool   `json:"again,omitempty"` // a list that has been expanded above: a message goes through it once
	Sender    string `json:"sender"`          // the reverse-path it would go out with: an owner's, perhaps

	User      string `json:"user,omitempty"` // who writes the mailbox or file, or runs the program
	UID       int    `json:"uid"`            // the user's; -1 where there is none, or it is not known now
	Extension string `json:"extension,omitempty"`
	Way       string `json:"way,omitempty"`    // of a mailbox elsewhere than in mail-dir: "mailer", or what option mailbox says
	Source    string `json:"source,omitempty"` // of an item, as the queue names it: alias, forward or usermap
	Hash      string `json:"sha256,omitempty"` // the same, beside Name

	Quota int64 `json:"quota,omitempty"` // of a mailbox that has a bound: how many octets it may have
	Used  int64 `json:"used,omitempty"`  // and has, where that is known now

	RelayHost string    `json:"relay_host,omitempty"` // of a remote one: the option, where it decides
	Routes    string    `json:"routes,omitempty"`     // file and line of option routes, where that decides, also of a failure
	Hosts     []DryHost `json:"hosts,omitempty"`      // in the order in which they would be tried

	Code      int    `json:"code,omitempty"` // of a failure: reply code, enhanced status code, and why
	Status    string `json:"status,omitempty"`
	Reason    string `json:"reason,omitempty"`    // of an alias: the circle that was left out of its targets
	Permanent bool   `json:"permanent,omitempty"` // it would go back to the sender at once

	Read  File   `json:"-"` // what its targets, or the line that Quote quotes, stand in
	Quote string `json:"-"` // instead of Reason for who is shown it (Viewer.Quoted); "" for nobody
}

// A DryHost is a host that takes mail, with its addresses in their order.
type DryHost struct {
	Name  string   `json:"name"`
	Port  int      `json:"port"`
	Addrs []string `json:"addresses"`
}

// DryRun yields where a message for to, with this reverse-path, would go: each
// recipient before what it is expanded to, at most MaxDrySteps and one that says
// that there are more. Nothing is sent or recorded, but
// users' files are read and DNS is asked, as a delivery would. It takes the
// same steps as the queue run (Resolve).
func (r *Router) DryRun(ctx context.Context, to, from smtp.Path) iter.Seq[DryStep] {
	return func(yield func(DryStep) bool) {
		d := dryRun{ctx: ctx, r: r, yield: yield, lists: map[envelope.Agent]bool{}}
		d.walk(&Node{Path: to, ReversePath: from}, DryStep{Recipient: to.String()}, new(int))
	}
}

// dryRun is one walk. Its methods return false when nobody wants more.
type dryRun struct {
	ctx   context.Context
	r     *Router
	yield func(DryStep) bool
	lists map[envelope.Agent]bool // their members have been shown
	steps int
}

// walk follows one lead; at says where it stands, and added counts what is
// below the same recipient.
func (d *dryRun) walk(n *Node, at DryStep, added *int) bool {
	r := d.r
	if d.steps++; d.steps > MaxDrySteps {
		at.How, at.Sender, at.UID = HowCut, r.Qualified(n.ReversePath).String(), -1
		d.show(at)
		return false
	}
	n.Added = *added
	at.Sender, at.UID = r.Qualified(n.ReversePath).String(), -1
	if n.Agent != nil {
		at.Source, at.Name, at.Hash = string(n.Agent.Source), n.Agent.Name, hex.EncodeToString(n.Agent.Hash[:])
	}
	step := r.Resolve(d.ctx, n)
	if step.Kind == StepRemote {
		name := r.HopName(n.ReversePath, n.Path.Domain)
		hop := r.NextHop(d.ctx, name)
		at.Routes = r.routesLine(n, name)
		switch {
		case hop.Failure != nil:
			step = failed(*hop.Failure)
		case !hop.Local:
			return d.remote(at, name, hop)
		default:
			step, at.Routes = r.ResolveHere(d.ctx, n), ""
		}
	}
	if step.Kind == StepMailbox && !step.Final {
		step = d.forward(step)
	}
	if step.Kind == StepRead {
		if step = r.Read(d.ctx, n, step); step.Kind == StepExpand && d.again(n) {
			step.Targets, at.Again = nil, true
		}
	}
	switch step.Kind {
	case StepExpand:
		return d.expand(n, at, step, added)
	case StepMailbox:
		if d.box(step, &at) {
			return d.show(at)
		}
		step = failed(outcome.Deferral("4.2.2", fmt.Sprintf("mailbox is full: it has %d octets of the %d that it may have", at.Used, at.Quota), nil))
	case StepRun:
		return d.run(at, step)
	}
	at.How = HowFailure
	o := step.Outcome
	at.Code, at.Status, at.Reason, at.Permanent = o.Reply.Code, o.DSN(), o.Reply.Text, o.Action == outcome.Bounced
	if o.Err != nil {
		at.Reason = joined(o.Reply.Text, smtp.Printable(o.Err.Error(), 500))
	}
	if step.Quote != nil {
		at.Read, at.Quote = step.File(), joined(o.Reply.Text, smtp.Printable(step.Quote.Error(), 500))
	}
	return d.show(at)
}

// box describes a mailbox, and says whether it has room for a small message, or that isn't
// known now.
func (d *dryRun) box(s Step, at *DryStep) bool {
	const small = local.RoomInFront
	a := s.Account
	at.How, at.User, at.UID, at.Extension, at.Quota = HowMailbox, a.Name, a.UID, s.Extension, a.Quota
	switch at.Way = d.r.o.Mailbox; {
	case isVirtual(a):
		at.Way = d.r.o.VirtualMailbox
	case d.r.Way(a, "") == ByProgram:
		at.Way = "mailer"
	}
	if a.Quota == 0 {
		return true
	}
	n, known := d.r.used(d.ctx, a, a.Quota-small)
	if known {
		at.Used = n
	}
	return !known || n <= a.Quota-small
}

// again says whether a list has been expanded before: a message goes through it
// once.
func (d *dryRun) again(n *Node) bool {
	if n.Agent == nil {
		return false
	}
	before := d.lists[*n.Agent]
	d.lists[*n.Agent] = true
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
	has, err := d.r.o.Users.Forwards(d.ctx, s.Account.Name, s.Extension)
	switch {
	case err != nil:
		return failed(Unread(s.ReadForward().Via, err))
	case has:
		return s.ReadForward()
	}
	return s
}

// expand yields an alias and the like, and then its targets.
func (d *dryRun) expand(n *Node, at DryStep, s Step, added *int) bool {
	at.How, at.Name, at.Read = string(s.Via.Source), s.Via.Name, s.File()
	if s.Circle != nil {
		at.Reason = CircleWords(s.Circle)
	}
	if !d.show(at) {
		return false
	}
	if s.Via.Source != envelope.FromList {
		*added += len(s.Targets)
	}
	for i, line := range s.Targets {
		t := s.target(i)
		child := &Node{Kind: t.Kind, Path: t.Path, Agent: t.Agent, Via: s.Via, From: n, ReversePath: n.ReversePath}
		if s.ReversePath != nil {
			child.ReversePath = *s.ReversePath
		}
		below := added
		if s.Via.Source == envelope.FromList {
			below = new(int)
		}
		at := DryStep{Depth: at.Depth + 1, Recipient: line.String(), File: line.File, Line: line.Line}
		if line.Kind == alias.File {
			at.How = HowFile
		}
		if !d.walk(child, at, below) {
			return false
		}
	}
	return true
}

// show yields a step. What users wrote, or their processes say that they did,
// reaches terminals: it is made harmless (A25).
func (d *dryRun) show(s DryStep) bool {
	for _, text := range []*string{&s.Routes, &s.Recipient, &s.File, &s.Name, &s.Sender, &s.User, &s.Extension, &s.Reason, &s.Quote} {
		*text = smtp.Printable(*text, 2000)
	}
	return d.yield(s)
}

// run yields a program or a file.
func (d *dryRun) run(at DryStep, s Step) bool {
	if at.How != HowFile {
		at.How = HowProgram
		if _, err := d.r.o.Users.List(d.ctx, local.Listing{User: s.User, Item: s.Item, Extension: s.Extension}); err != nil {
			at.How, at.Code, at.Status = HowFailure, 450, "4.3.5"
			at.Reason = "program can't be started: " + smtp.Printable(err.Error(), 500)
		}
	}
	at.User, at.Extension = s.User, s.Extension
	if a, err := d.r.o.Accounts.Lookup(d.ctx, s.User); err == nil {
		at.UID = a.UID
	}
	return d.show(at)
}

// remote yields the hosts of a next hop of this HopName.
func (d *dryRun) remote(at DryStep, name string, hop NextHop) bool {
	at.How = HowRemote
	if _, _, _, isRouted := routed(name); !isRouted {
		at.RelayHost = d.r.o.RelayHost
	}
	for _, t := range hop.Targets {
		h := DryHost{Name: t.Host, Port: t.Port}
		for _, a := range t.Addrs {
			h.Addrs = append(h.Addrs, a.String())
		}
		at.Hosts = append(at.Hosts, h)
	}
	return d.show(at)
}
