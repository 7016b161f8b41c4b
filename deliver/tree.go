package deliver

import (
	"postoffice/deliver/route"
	"postoffice/spool/envelope"
)

// A tree is the recipients of a message and what led to each.
type tree struct {
	*message
	nodes map[envelope.Key]*route.Node // of what has been expanded
	added map[envelope.Key]int         // recipients below one of the envelope, or a member of a list
	// children are the keys of what each recipient was expanded to; nil: not
	// looked up yet.
	children map[envelope.Key][]envelope.Key
	earlier  *reached // what earlier attempts reached; nil: not looked up yet
	// looked are the recipients in whose place the files have been looked at in
	// this attempt, and what was put there.
	looked map[envelope.Key]bool
}

func newTree(m *message) tree {
	return tree{message: m, nodes: map[envelope.Key]*route.Node{}, added: map[envelope.Key]int{}, looked: map[envelope.Key]bool{}}
}

// count finds out how much the recipients of the envelope and the members of
// lists have been expanded to already.
func (t *tree) count() {
	for rc := range t.m.Recipients() {
		if rc.Key.Block > 0 && rc.Via.Source != envelope.FromList {
			t.added[t.node(rc).Root]++
		}
	}
}

// grow counts what a recipient is about to be expanded to.
func (t *tree) grow(rc envelope.Recipient, x envelope.Expansion) {
	if x.Via.Source != envelope.FromList {
		t.added[t.node(rc).Root] += len(x.Targets)
	}
}

// node returns a recipient with what led to it. What stands in the place of
// another has what led to that one.
func (t *tree) node(rc envelope.Recipient) *route.Node {
	l := &route.Node{Kind: rc.Kind, Path: rc.Path, Agent: rc.Agent, Via: rc.Via, ReversePath: rc.ReversePath, Root: rc.Key}
	if rc.Parent != envelope.NoKey {
		from := t.nodes[rc.Parent]
		if from == nil {
			from = t.node(t.rcpt(rc.Parent))
			t.nodes[rc.Parent] = from
		}
		if from.Via == rc.Via && rc.Via != (envelope.Via{}) {
			from = from.From
		}
		l.From = from
		if rc.Via.Source != envelope.FromList {
			l.Root = from.Root
		}
	}
	l.Added = t.added[l.Root]
	return l
}

// append takes in the block that a recipient was expanded to, and returns its
// keys; instead: it stands in the recipient's place.
func (t *tree) append(rc envelope.Recipient, block, n int, instead bool) []envelope.Key {
	keys := make([]envelope.Key, n)
	for i := range keys {
		keys[i] = envelope.Key{Block: block, Index: i}
		if instead {
			t.looked[keys[i]] = true
		}
	}
	if t.children != nil {
		t.children[rc.Key] = append(t.children[rc.Key], keys...)
	}
	return keys
}

// look says whether the files are to be looked at again for what has vanished
// at k: once an attempt, and never for what was put in the place of another.
// Files and processes that contradict each other would go round.
func (t *tree) look(k envelope.Key) bool {
	if t.looked[k] || t.rcpt(k).Via == (envelope.Via{}) {
		return false
	}
	t.looked[k] = true
	return true
}

// whole is the recipient whose expansion has k, or what k stands in the place
// of.
func (t *tree) whole(k envelope.Key) envelope.Key {
	rc := t.rcpt(k)
	for {
		parent := t.rcpt(rc.Parent)
		if parent.Via != rc.Via {
			return parent.Key
		}
		rc = parent
	}
}

// wholes sorts recipients by the expansion that they come from, in the order in
// which each is met first.
func (t *tree) wholes(keys []envelope.Key) [][]envelope.Key {
	var sorted [][]envelope.Key
	at := map[envelope.Key]int{}
	for _, k := range keys {
		whole := t.whole(k)
		i, ok := at[whole]
		if !ok {
			i = len(sorted)
			at[whole], sorted = i, append(sorted, nil)
		}
		sorted[i] = append(sorted[i], k)
	}
	return sorted
}

// members are what the recipient that k is in was expanded to, as the file had
// it: what stands in the place of another there, and not that other.
func (t *tree) members(k envelope.Key) []envelope.Target {
	if t.children == nil {
		t.children = map[envelope.Key][]envelope.Key{}
		for rc := range t.m.Recipients() {
			t.children[rc.Parent] = append(t.children[rc.Parent], rc.Key)
		}
	}
	return t.below(t.whole(k))
}

func (t *tree) below(whole envelope.Key) []envelope.Target {
	var all []envelope.Target
	for _, k := range t.children[whole] {
		rc := t.rcpt(k)
		if below := t.children[k]; len(below) > 0 && t.rcpt(below[0]).Via == rc.Via {
			all = append(all, t.below(k)...)
			continue
		}
		all = append(all, rc.Target)
	}
	return all
}
