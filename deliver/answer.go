package deliver

import (
	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/deliver/route"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// An answer is what has come of a target: settled, read, forwarded or changed;
// nil where nothing was tried and nothing is to be noted.
type answer interface{ isAnswer() }

// settled is the outcome for recipients.
type settled struct {
	keys       []envelope.Key // filled in where the answer is taken
	outcome    outcome.Outcome
	remembered bool   // the words are an earlier message's
	token      string // of a local delivery
}

// read is a list that was read.
type read struct {
	t     *localTarget // filled in where the answer is taken
	step  route.Step
	lines []local.Line
}

// forwarded says that the account of a mailbox has a .forward that counts,
// which is to be read then.
type forwarded struct{}

// changed says that an item isn't there any more.
type changed struct{}

func (settled) isAnswer()   {}
func (read) isAnswer()      {}
func (forwarded) isAnswer() {}
func (changed) isAnswer()   {}

// A reply is the answer for one target.
type reply struct {
	t target
	x answer
}

// A target is where one or more recipients, spelt differently perhaps, go: a
// localTarget or a remoteTarget. Its recipients may grow in number until it is
// over; the attempt's goroutine alone looks at them.
type target interface {
	over(outcome.Action) []envelope.Key
}

// common is what both kinds of target have.
type common struct {
	keys  []envelope.Key
	done  bool           // it has been answered for
	ended outcome.Action // how, with done; an expansion is Delivered
}

// over ends the work for a target and returns whom it was for.
func (c *common) over(how outcome.Action) []envelope.Key {
	c.done, c.ended = true, how
	return c.keys
}

// remoteTarget is an address elsewhere.
type remoteTarget struct {
	common
	path   smtp.Path
	params []smtp.Param
}

// localTarget is a mailbox, a program, a file, or a list that is to be read.
type localTarget struct {
	common
	name      string // the user with whose rights it is done; of a mailbox the account
	reverse   smtp.Path
	extension string // the detail of user+detail
	final     bool   // into the mailbox whatever .forward says
	folder    string // see local.Delivery
	step      route.Step
	box       *box // of a mailbox
	again     bool // of a list: it is read anew, for what it was expanded to before
	begun     bool // a goroutine works on it
}

// take sorts what has come of targets: what has settled is to be recorded, and
// from the rest something follows.
func (a *attempt) take(replies []reply) {
	a.todo.answered()
	for _, y := range replies {
		a.end(y)
	}
}

// end takes one answer.
func (a *attempt) end(y reply) {
	how := outcome.Deferred
	if x, ok := y.x.(settled); ok {
		how = x.outcome.Action
	}
	t, isLocal := y.t.(*localTarget)
	if isLocal {
		a.todo.free(t, how)
	}
	switch x := y.x.(type) {
	case settled:
		x.keys = y.t.over(how)
		a.tally.add(x)
	case read:
		x.t = t
		a.todo.follow(x)
	case changed:
		a.todo.missed(y.t.over(how)...)
	default:
		y.t.over(how)
	}
}

// settle leaves the outcome of a recipient to record.
func (a *attempt) settle(rc envelope.Recipient, o outcome.Outcome) {
	a.tally.settle([]envelope.Key{rc.Key}, o)
}

// expand leaves an expansion to record: what is in it is placed then. Where there
// is no room for it in memory the attempt comes to its end, and the next one has
// that room from the start.
func (a *attempt) expand(x expanded) {
	if !a.turn.Hold(a.inMemory + len(x.what.Targets)) {
		a.yields = true
		return
	}
	a.inMemory += len(x.what.Targets)
	a.tree.grow(x.rc, x.what)
	a.tally.expand(x)
}
