package deliver

import (
	"slices"

	"postoffice/spool"
)

// deal says what stands in the place of those members of an expansion that are
// pending and that the text doesn't have any more, by their keys; in the place
// of some there may be nothing. What the text has besides the members is dealt
// out to all that have vanished in the order of both: to an item an item, to an
// address an address. Where there is less of it, those that are settled go
// without first; where there is more, the last pending one has it too. What
// would fall to a settled one falls to nobody: something that had the message
// stood there (decisions/0009).
func deal(members []spool.Recipient, text []spool.Target) map[spool.Key][]spool.Target {
	gone, added := difference(members, text)
	for i := len(gone) - 1; i >= 0 && len(gone) > len(added); i-- {
		if gone[i].State != spool.Pending {
			gone = slices.Delete(gone, i, i+1)
		}
	}
	shares := map[spool.Key][]spool.Target{}
	var last *spool.Recipient
	for i := range gone {
		m := &gone[i]
		t := slices.IndexFunc(added, func(t spool.Target) bool { return (t.Agent == nil) == (m.Agent == nil) })
		var share []spool.Target
		if t >= 0 {
			share = added[t : t+1 : t+1]
			added = slices.Concat(added[:t], added[t+1:])
		}
		if m.State == spool.Pending {
			shares[m.Key], last = share, m
		}
	}
	if last == nil {
		return nil
	}
	for i := range gone { // those without one of their kind
		if k := gone[i].Key; len(added) > 0 && gone[i].State == spool.Pending && len(shares[k]) == 0 {
			shares[k], added = added[:1:1], added[1:]
		}
	}
	shares[last.Key] = slices.Concat(shares[last.Key], added)
	return shares
}

// difference is which members the text doesn't have, and what it has besides
// them, each once.
func difference(members []spool.Recipient, text []spool.Target) (gone []spool.Recipient, added []spool.Target) {
	in := map[place]bool{}
	for _, t := range text {
		in[placeOf(t)] = true
	}
	had := map[place]bool{}
	for _, m := range members {
		p := placeOf(m.Target)
		if had[p] = true; !in[p] {
			gone = append(gone, m)
		}
	}
	for _, t := range text {
		if p := placeOf(t); !had[p] {
			had[p] = true
			added = append(added, t)
		}
	}
	return gone, added
}

// place is what two targets have in common that are the same one.
type place struct {
	kind  spool.Kind
	path  string
	agent spool.Agent
}

func placeOf(t spool.Target) place {
	if t.Agent != nil {
		return place{kind: t.Kind, agent: *t.Agent}
	}
	return place{kind: t.Kind, path: fold(t.Path.String())}
}
