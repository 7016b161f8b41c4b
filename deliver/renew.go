package deliver

import (
	"context"
	"errors"
	"log/slog"

	"postoffice/deliver/local"
	"postoffice/internal/alias"
	"postoffice/internal/maillog"
	"postoffice/internal/smtp"
	"postoffice/spool"
)

// Again says what stands now where l was found: a StepExpand with all of it, a
// StepAsk whose list says it, or why that isn't known.
func (r *Router) Again(ctx context.Context, l *Lead) Step {
	from := *l.From
	from.Added = 0 // what is new is counted by whoever adds it
	switch v := l.Via; v.Source {
	case spool.FromAlias:
		e, err := r.lookupAlias(ctx, v.Name)
		if errors.Is(err, alias.ErrNotFound) && r.o.Aliases != nil && r.o.Aliases.Damage() != nil {
			err = r.o.Aliases.Damage() // not known to be gone
		}
		switch {
		case errors.Is(err, alias.ErrNotFound):
			return itself(&from, v)
		case err != nil:
			return failed(deferral("4.3.0", "the aliases can't be read now", err))
		}
		return r.byAlias(ctx, &from, e)
	case spool.FromForward:
		return Step{Account: local.Account{Name: v.Name}, Extension: r.detailOf(&from, v.Name)}.AskForward()
	case spool.FromUsermap:
		m, err := r.mapping(ctx, v.Name)
		switch {
		case err != nil:
			return failed(deferral("4.3.0", "option usermap or the user database can't be read now", err))
		case m.Entry == "":
			return itself(&from, v)
		}
		return r.byUsermap(ctx, &from, m)
	}
	return r.item(ctx, &from)
}

// itself is what a name stands for that v says nothing of any more: what it is
// without v.
func itself(l *Lead, v spool.Via) Step {
	return Step{Kind: StepExpand, Via: v, Targets: []local.Line{{Target: alias.Target{Kind: alias.Address, Path: l.Path}}}}
}

// listedAgain is what a list says that was read for Again.
func (r *Router) listedAgain(l *Lead, s Step, lines []local.Line) Step {
	from := *l.From
	from.Added = 0
	s = r.listed(&from, s, lines)
	if s.Kind == StepMailbox { // the .forward is gone
		s.Kind, s.Via = StepExpand, l.Via
		s.Targets = []local.Line{{Target: alias.Target{Kind: alias.Mailbox, Path: smtp.Path{Local: s.Account.Name}}}}
	}
	return s
}

// renew looks again where items stood that are not there any more, once an
// attempt. What was put in the place of another in this attempt is left for the
// next one: files and processes that contradict each other would go round.
func (a *attempt) renew(keys []spool.Key) {
	var some []spool.Key
	for _, k := range keys {
		if rc := a.rcpt(k); a.renewed[k.Block] || a.missed[k] || rc.Via == (spool.Via{}) {
			a.settle([]spool.Key{k}, changed(rc.Agent))
			continue
		}
		a.missed[k] = true
		some = append(some, k)
	}
	a.lookAgain(some)
}

// replan is plan where everything that is pending goes where the files say now.
func (a *attempt) replan(due []spool.Key) {
	var plain, some []spool.Key
	for _, k := range due {
		if rc := a.rcpt(k); rc.Via == (spool.Via{}) {
			plain = append(plain, k)
			continue
		}
		some = append(some, k)
	}
	a.lookAgain(some)
	for _, k := range plain {
		a.place(k)
	}
}

// lookAgain finds out what stands now where these recipients were found, once
// for each expansion that they come from.
func (a *attempt) lookAgain(keys []spool.Key) {
	var wholes []spool.Key
	of := map[spool.Key][]spool.Key{}
	for _, k := range keys {
		whole := a.whole(k)
		if of[whole] == nil {
			wholes = append(wholes, whole)
		}
		of[whole] = append(of[whole], k)
	}
	for _, whole := range wholes {
		if a.broken || a.stop.Err() != nil {
			return
		}
		keys := of[whole]
		rc := a.rcpt(keys[0])
		switch s := a.s.router.Again(a.work, a.lead(rc)); {
		case s.Kind == StepAsk:
			a.errands = append(a.errands, &target{keys: keys, errand: &errand{
				name: s.User, reverse: rc.ReversePath, extension: s.Extension, step: s, again: true,
			}})
		case s.Kind == StepExpand:
			a.replace(keys, s)
		case s.Kind == StepChanged: // a list that its alias doesn't name any more keeps its members
			for _, k := range keys {
				a.place(k)
			}
		default:
			a.settle(keys, s.Outcome)
		}
	}
}

// resume goes on when the list that lookAgain wanted has been read.
func (a *attempt) resume(x *answer) {
	s := a.s.router.listedAgain(a.lead(a.rcpt(x.keys[0])), *x.asked, x.lines)
	if s.Kind != StepExpand {
		a.settle(x.keys, s.Outcome)
		return
	}
	a.replace(x.keys, s)
}

// replace puts what s says in the place of those recipients that it doesn't
// have. keys are pending and of one expansion.
func (a *attempt) replace(keys []spool.Key, s Step) {
	text := s.expansion().Targets
	shares := deal(a.members(a.whole(keys[0])), text)
	for _, k := range keys {
		if a.broken {
			return
		}
		rc := a.rcpt(k)
		share, gone := shares[k]
		l := a.lead(rc)
		switch {
		case !gone && a.missed[k]:
			a.settle([]spool.Key{k}, changed(rc.Agent))
		case !gone:
			a.place(k)
		case len(share) == 0:
			a.drop(rc)
		case rc.Via.Source != spool.FromList && a.added[l.root]+len(share) > maxExpanded:
			a.settle([]spool.Key{k}, tooMany(rc.Via))
		default:
			a.extend(rc, spool.Expansion{Via: rc.Via, Targets: share}, true)
		}
	}
}

// drop takes out a recipient that whoever wrote the file has taken out, with
// nothing in its place.
func (a *attempt) drop(rc spool.Recipient) {
	if !a.setState([]spool.Key{rc.Key}, spool.Cancelled) {
		return
	}
	a.log(slog.LevelInfo, "recipient cancelled", maillog.To(addressee(rc)), maillog.OrigTo(a.original(rc)), maillog.Delay(a.delay()),
		maillog.Reason(string(rc.Via.Source)+" "+printable(rc.Via.Name, 100)+" doesn't have it any more, and nothing in its place"))
}

// whole is the recipient whose expansion has k, or what k stands in the place
// of.
func (a *attempt) whole(k spool.Key) spool.Key {
	rc := a.rcpt(k)
	for {
		parent := a.rcpt(rc.Parent)
		if parent.Via != rc.Via {
			return parent.Key
		}
		rc = parent
	}
}

// members are what a recipient was expanded to, as the file had it: what stands
// in the place of another there, and not that other.
func (a *attempt) members(whole spool.Key) []spool.Recipient {
	if a.children == nil {
		a.children = map[spool.Key][]spool.Key{}
		for rc := range a.m.Recipients() {
			a.children[rc.Parent] = append(a.children[rc.Parent], rc.Key)
		}
	}
	var all []spool.Recipient
	for _, k := range a.children[whole] {
		rc := a.rcpt(k)
		if below := a.children[k]; len(below) > 0 && a.rcpt(below[0]).Via == rc.Via {
			all = append(all, a.members(k)...)
			continue
		}
		all = append(all, rc)
	}
	return all
}
