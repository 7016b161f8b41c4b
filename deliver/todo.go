package deliver

import (
	"maps"
	"slices"

	"postoffice/deliver/outcome"
	"postoffice/deliver/route"
	"postoffice/deliver/schedule"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// todo is what an attempt is to plan and to start, and how much is under way.
type todo struct {
	plan work

	domains   map[string][]envelope.Key // whose route is to be found
	questions questions                 // of these, what DNS is to be asked about
	boxes     map[string]*box           // by account
	folder    string                    // of each, see local.Delivery
	virtual   string                    // the same of virtual domains
	letters   queue                     // for mailboxes, to be started
	items     map[envelope.Agent]*localTarget
	errands   queue                    // to programs, files and lists, to be started
	hops      map[string]*hop          // by next hop, reverse-path and front, to be started
	remotes   map[string]*remoteTarget // by next hop, reverse-path and address
	busy      []refused

	open      int // answers to come
	routing   int // routes to come
	boxesOpen int // mailboxes that are being written
}

// work is what is to be planned.
type work struct {
	place  []envelope.Key // where do they go
	again  []envelope.Key // where do they go by now: the files are looked at again
	missed []envelope.Key // items that aren't there any more
	read   []read         // lists
	routes []routed
}

// newTodo is the work for a message whose mail for mailboxes goes into a folder of
// them, and for those of virtual domains into another; "" is none.
func newTodo(folder, virtual string) todo {
	return todo{
		folder: folder, virtual: virtual,
		domains: map[string][]envelope.Key{}, boxes: map[string]*box{}, items: map[envelope.Agent]*localTarget{},
		hops: map[string]*hop{}, remotes: map[string]*remoteTarget{},
	}
}

// place, again, missed, follow and route leave something to the planning.
func (t *todo) place(keys ...envelope.Key)  { t.plan.place = append(t.plan.place, keys...) }
func (t *todo) again(keys ...envelope.Key)  { t.plan.again = append(t.plan.again, keys...) }
func (t *todo) missed(keys ...envelope.Key) { t.plan.missed = append(t.plan.missed, keys...) }
func (t *todo) follow(x read)               { t.plan.read = append(t.plan.read, x) }
func (t *todo) route(x routed)              { t.plan.routes = append(t.plan.routes, x) }

// planned says whether something is to be planned.
func (t *todo) planned() bool {
	w := &t.plan
	return len(w.place)+len(w.again)+len(w.missed)+len(w.read)+len(w.routes) > 0
}

// unplanned returns what is to be planned, which is forgotten here.
func (t *todo) unplanned() work {
	w := t.plan
	t.plan = work{}
	return w
}

// idle says that no answer is to come.
func (t *todo) idle() bool { return t.open == 0 && t.routing == 0 }

// refused is a gate that was full, and how to try it once more.
type refused struct {
	gate  schedule.Gate
	again func()
}

// refuse keeps what found a gate full.
func (t *todo) refuse(gate schedule.Gate, again func()) {
	t.busy = append(t.busy, refused{gate, again})
}

// gates returns the gates that were found full.
func (t *todo) gates() []schedule.Gate {
	var gates []schedule.Gate
	for _, b := range t.busy {
		gates = append(gates, b.gate)
	}
	return gates
}

// retry makes all that was refused be tried once more.
func (t *todo) retry() {
	busy := t.busy
	t.busy = nil
	for _, b := range busy {
		b.again()
	}
}

// A box is the mailbox of an account, as one message sees it. One of its
// targets is worked on at a time: what the first one leads to decides whether
// the next is another copy.
type box struct {
	has     bool           // the message is in it
	busy    bool           // the first of targets is on its way
	targets []*localTarget // not answered for
}

// box returns the mailbox of an account; has is asked when it is met first.
func (t *todo) box(account string, has func() bool) *box {
	b := t.boxes[account]
	if b == nil {
		b = &box{has: has()}
		t.boxes[account] = b
	}
	return b
}

// letter adds a recipient to a mailbox. Two spellings of one mailbox are one
// delivery (B52); \user and another detail are others only as far as a .forward
// makes them.
func (t *todo) letter(b *box, rc envelope.Recipient, s route.Step) {
	i := slices.IndexFunc(b.targets, func(t *localTarget) bool { return t.final == s.Final && t.extension == s.Extension })
	if i >= 0 {
		b.targets[i].keys = append(b.targets[i].keys, rc.Key)
		return
	}
	to := newLocal(rc, s, s.Account.Name)
	to.final, to.box = s.Final, b
	if to.folder = t.folder; isVirtual(to.name) {
		to.folder = t.virtual
	}
	b.targets = append(b.targets, to)
	t.serve(b)
}

// serve makes the next target of a mailbox one to be started.
func (t *todo) serve(b *box) {
	if !b.busy && len(b.targets) > 0 {
		b.busy = true
		t.letters.targets = append(t.letters.targets, b.targets[0])
	}
}

// free ends the work for a local target.
func (t *todo) free(to *localTarget, how outcome.Action) {
	b := to.box
	if b == nil {
		return
	}
	if to.begun {
		t.boxesOpen--
	}
	b.has = b.has || how == outcome.Delivered
	b.targets, b.busy = b.targets[1:], false
	t.serve(b)
}

// errand adds a program, a file or a list.
func (t *todo) errand(to *localTarget) { t.errands.targets = append(t.errands.targets, to) }

// item adds a recipient to a program, a file or a list. Each is done once for a
// message; has says that it is, for a recipient that comes late. before is asked
// where an item is met first: earlier attempts may have done it.
func (t *todo) item(rc envelope.Recipient, s route.Step, before func() bool) (has bool) {
	to := t.items[*rc.Agent]
	switch {
	case to == nil && before(), to != nil && to.ended == outcome.Delivered:
		return true
	case to == nil || to.done:
		to = newLocal(rc, s, s.User)
		t.items[*rc.Agent] = to
		t.errand(to)
	default:
		to.keys = append(to.keys, rc.Key)
	}
	return false
}

// newLocal returns a target with its first recipient.
func newLocal(rc envelope.Recipient, s route.Step, user string) *localTarget {
	return &localTarget{common: common{keys: []envelope.Key{rc.Key}}, name: user, reverse: rc.ReversePath, extension: s.Extension, step: s}
}

// next takes a local target that may be started, and returns the list that it
// came from.
func (t *todo) next() (to *localTarget, from *queue) {
	switch {
	case t.letters.ready() && t.boxesOpen < boxesAtOnce:
		from = &t.letters
	case t.errands.ready():
		from = &t.errands
	default:
		return nil, nil
	}
	to, from.targets = from.targets[0], from.targets[1:]
	return to, from
}

// A queue is what waits to be started.
type queue struct {
	targets []*localTarget
	shut    bool // there is no room for any of them
}

func (q *queue) ready() bool { return len(q.targets) > 0 && !q.shut }

// begin counts a local target whose goroutine is about to start.
func (t *todo) begin(to *localTarget) {
	t.open++
	to.begun = true
	if to.box != nil {
		t.boxesOpen++
	}
}

// answered counts a reply.
func (t *todo) answered() { t.open-- }

// ask adds recipients to those whose domain is to be looked up.
func (t *todo) ask(domain string, keys ...envelope.Key) {
	t.domains[domain] = append(t.domains[domain], keys...)
}

// unasked returns the domains that are to be looked up, in order, which are
// forgotten here.
func (t *todo) unasked() []routed {
	all := make([]routed, 0, len(t.domains))
	for _, name := range inOrder(t.domains) {
		all = append(all, routed{name: name, keys: t.domains[name]})
	}
	clear(t.domains)
	return all
}

// inOrder returns the keys of a map in order. Most have one.
func inOrder[V any](m map[string]V) []string {
	keys := slices.AppendSeq(make([]string, 0, len(m)), maps.Keys(m))
	slices.Sort(keys)
	return keys
}

// asked counts a question about a domain, found its answer.
func (t *todo) asked() { t.routing++ }

func (t *todo) found(x routed) {
	t.routing--
	t.route(x)
}

// asking says that a domain is being looked up, or is about to be.
func (t *todo) asking() bool {
	return t.routing > 0 || len(t.questions.list) > 0 && !t.questions.shut
}

// questions are the domains that DNS is to be asked about.
type questions struct {
	list []routed
	shut bool // nobody may ask more for now
}

// A hop is what of one message goes to one next hop with one reverse-path, and
// the same fields in front.
type hop struct {
	id      string
	rt      *route.NextHop
	reverse smtp.Path
	front   string // Delivered-To fields of those whose .forward led there
	targets []*remoteTarget
}

// remote gives a recipient to a next hop; has says that the address has the
// message. Equal addresses are one recipient, whoever led there first.
func (t *todo) remote(rc envelope.Recipient, rt *route.NextHop, front string) (has bool) {
	hopID := rt.Key + "\x00" + rc.ReversePath.String()
	id := hopID + "\x00" + rc.Path.Local + "\x00" + smtp.Fold(rc.Path.Domain)
	to := t.remotes[id]
	if to != nil && to.done && to.ended == outcome.Delivered {
		return true
	}
	if to == nil || to.done {
		to = &remoteTarget{path: rc.Path, params: rc.Params}
		t.remotes[id] = to
		hopID += "\x00" + front
		h := t.hops[hopID]
		if h == nil {
			h = &hop{id: hopID, rt: rt, reverse: rc.ReversePath, front: front}
			t.hops[hopID] = h
		}
		h.targets = append(h.targets, to)
	}
	to.keys = append(to.keys, rc.Key)
	return false
}

// putBack takes back what a next hop had no room for.
func (t *todo) putBack(hp *hop) {
	if h := t.hops[hp.id]; h != nil {
		h.targets = append(h.targets, hp.targets...)
		return
	}
	t.hops[hp.id] = hp
}

// unsent returns what is to go to next hops, in order, which is forgotten here.
func (t *todo) unsent() []*hop {
	all := make([]*hop, 0, len(t.hops))
	for _, id := range inOrder(t.hops) {
		all = append(all, t.hops[id])
	}
	clear(t.hops)
	return all
}

// sent counts the replies that are to come from a next hop.
func (t *todo) sent(replies int) { t.open += replies }
