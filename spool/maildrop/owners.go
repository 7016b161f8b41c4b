package maildrop

import (
	"maps"
	"slices"
)

// What one look at maildrop/ takes.
const (
	dropsPerOwner = 50  // drops of each
	maxOwners     = 200 // owners
)

// A round is a way through all owners, in the order of their uids: with as many
// looks as it takes, each has a turn, however many there are whose files can't be
// picked up.
type round struct {
	after int  // the owners up to this uid have had their turn
	left  bool // they have more files than one turn takes
	gone  bool // some were picked up
	told  map[string]bool
}

// noOwner is below all uids.
const noOwner = -1

// owned are the files of one owner.
type owned struct{ drops []*candidate }

// owners are those whose turn it is: the first behind after, with their files.
type owners struct {
	after int
	last  int // the last of them
	of    map[int]*owned
	left  bool // they have more files than one turn takes
	more  bool // there are owners behind them
}

// add takes in a file of somebody whose turn it is.
func (o *owners) add(c *candidate) {
	uid := c.info.UID
	of := o.of[uid]
	switch {
	case uid <= o.after:
		return
	case of != nil && len(of.drops) >= dropsPerOwner:
		o.left = true
		return
	case of != nil:
		of.drops = append(of.drops, c)
		return
	case len(o.of) >= maxOwners && uid > o.last:
		o.more = true
		return
	case len(o.of) >= maxOwners:
		delete(o.of, o.last)
		o.last = slices.Max(slices.Collect(maps.Keys(o.of)))
		o.more = true
	}
	o.of[uid] = &owned{[]*candidate{c}}
	o.last = max(o.last, uid)
}
