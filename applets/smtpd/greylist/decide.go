package greylist

import (
	"net/netip"
	"time"

	"postoffice/internal/smtp"
)

// A Question is who came, and when.
type Question struct {
	Sender  smtp.Path
	Client  netip.Addr
	Pool    string    // of addresses that one provider sends from, which count as one; "" none
	Unnamed bool      // the client has no name in DNS that leads back to it
	Now     time.Time // by the wall clock
}

// Rules are how long who waits.
type Rules struct {
	Delay        time.Duration // for a first contact; others wait a multiple of it
	From         bool          // keys are whole senders, but for the null sender
	Bits4, Bits6 int           // keys are of networks of that length, of IPv4 and IPv6; 0: of addresses
	NullWindow   time.Duration // how long the null sender may pass after its wait, before it has to wait again; 0: for ever
}

// How many times Delay a first contact waits: greylist(7).
const (
	timesUnnamed = 2
	timesNull    = 4
	timesBoth    = 5
)

// slack is how much of a wait is let off, in seconds: who comes again to the second is
// not sent away for the part of one.
const slack = 1

// Wait is how long a first contact waits.
func (o Rules) Wait(q Question) time.Duration {
	switch null := q.Sender.IsNull(); {
	case null && q.Unnamed:
		return timesBoth * o.Delay
	case null:
		return timesNull * o.Delay
	case q.Unnamed:
		return timesUnnamed * o.Delay
	}
	return o.Delay
}

// A Verdict is what the greylist says of a message.
type Verdict uint8

const (
	Pass  Verdict = iota
	Wait          // for the time that stands beside it
	Never         // somebody forbade it
)

// A Why is the reason of a verdict.
type Why uint8

const (
	Exempt    Why = iota // the greylist isn't asked about it
	FirstTime            // it was never seen
	TooEarly             // it came again before its wait was over
	CameBack             // it came again after its wait, for the first time
	Known                // it has passed before
	Missed               // the null sender came again too late, and waits anew
	Allowed              // by hand
	Forbidden            // by hand
	Written              // somebody here has written to the sender
	Trusted              // the client has brought enough good mail
	Unstored             // the store can't be asked
)

// whys are the reasons in words, for the log and for people.
var whys = [...]string{
	Exempt:    "it is exempt",
	FirstTime: "first contact",
	TooEarly:  "it came again before its wait was over",
	CameBack:  "it came again after its wait",
	Known:     "it has passed before",
	Missed:    "it came again too long after its wait, and waits anew",
	Allowed:   "it was allowed by hand",
	Forbidden: "it was forbidden by hand",
	Written:   "somebody here has written to that sender",
	Trusted:   "the client has brought enough good mail",
	Unstored:  "the greylist's store can't be asked",
}

func (w Why) String() string { return whys[w] }

// An Answer is a verdict with its reason, and what is to be written down.
type Answer struct {
	Verdict Verdict
	Why     Why
	Wait    time.Duration // what is left of it, in whole seconds; of Wait alone
	Key     string        // under which the record is; "" where none was asked for
	Record  Record        // as it is to be written
}

// Decide judges a contact by the record of its key, if there is one. It asks neither
// clock nor disk.
func Decide(r Record, there bool, q Question, o Rules) Answer {
	now := stampOf(q.Now)
	if !there {
		return begin(Record{}, FirstTime, now, q, o)
	}
	r.mend(now, o)
	switch {
	case r.Forbidden: // its mark is never overwritten (R61, S124)
		r.Last = max(r.Last, now)
		return Answer{Verdict: Never, Why: Forbidden, Record: r}
	case r.Hand:
		r.Last = now
		return Answer{Why: Allowed, Record: r}
	case now < r.Allowed-slack && r.Passed == 0: // the date never moves (B29)
		r.Last = now
		r.Tries = min(r.Tries+1, maxTries)
		return Answer{Verdict: Wait, Why: TooEarly, Wait: seconds(r.Allowed - now), Record: r}
	case q.Sender.IsNull() && o.NullWindow > 0 && now > r.Allowed+int64(o.NullWindow/time.Second): // B28
		return begin(Record{}, Missed, now, q, o)
	}
	return r.pass(now)
}

// pass is the answer to a key whose wait is over.
func (r Record) pass(now int64) Answer {
	a := Answer{Why: Known}
	if !r.HasPassed() {
		a.Why = CameBack
		r.Tries = min(r.Tries+1, maxTries)
		r.Passed = now
	}
	r.Last = now
	a.Record = r
	return a
}

// begin lets a key wait from now on.
func begin(r Record, why Why, now int64, q Question, o Rules) Answer {
	wait := o.Wait(q)
	r.First, r.Last, r.Allowed, r.Passed, r.Tries = now, now, now+int64(wait/time.Second), 0, 1
	a := Answer{Verdict: Wait, Why: why, Wait: seconds(r.Allowed - now), Record: r}
	if a.Wait <= slack*time.Second { // there is no wait
		a.Verdict, a.Why, a.Wait = Pass, Known, 0
		a.Record.Passed = now
	}
	return a
}

// mend sets right what a clock has done that was wrong when the record was written, or is
// by now: nobody waits longer than a first contact could, and who has passed still has.
func (r *Record) mend(now int64, o Rules) {
	if r.Forbidden || r.Hand {
		return
	}
	if r.Passed == 0 && r.First == 0 && r.Last >= r.Allowed { // a record of the first postoffice's
		r.Passed = r.Last
	}
	if r.Passed != 0 {
		r.Allowed = min(r.Allowed, now)
		return
	}
	longest := int64(timesBoth * o.Delay / time.Second)
	if r.First > 0 && now < r.First { // the clock was set back: the wait begins now
		r.Allowed -= r.First - now
		r.First = now
	}
	r.Allowed = min(r.Allowed, now+longest)
}

// Push lets a key wait from now on that has done something to deserve it: a recipient that
// nobody is, or mail that a filter finds bad. What was decided by hand stays (B31).
func Push(r Record, q Question, o Rules) Record {
	if r.ByHand() {
		return r
	}
	return begin(r, FirstTime, stampOf(q.Now), q, o).Record
}

// Approve is a key's record once somebody has allowed it.
func Approve(r Record, there bool, now time.Time) Record {
	if !there || r.Last == 0 {
		r.Last = stampOf(now)
	}
	r.Forbidden, r.Hand = false, true
	r.Allowed = max(r.Last-1, 0)
	return r
}

// Forbid is a key's record once somebody has forbidden it.
func Forbid(now time.Time) Record {
	return Record{Forbidden: true, Last: stampOf(now), Hand: true}
}

// stampOf is a time as records have it, none of which is before 1970.
func stampOf(t time.Time) int64 { return max(t.Unix(), 1) }

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
