package peer

import (
	"net/netip"
	"sync"
)

// An Amount is what mail takes of a disk.
type Amount struct{ Octets, Files int64 }

func (a Amount) plus(b Amount) Amount { return Amount{a.Octets + b.Octets, a.Files + b.Files} }

// Minus is what is left of an Amount without another one.
func (a Amount) Minus(b Amount) Amount { return Amount{a.Octets - b.Octets, a.Files - b.Files} }

// A Holder is for whom mail on the disk counts. The zero Holder is nobody: what it
// has isn't counted, and has no bound but the disk's.
type Holder struct {
	kind    holderKind
	user    int          // of a program
	network netip.Prefix // of a stranger
}

type holderKind uint8

const (
	uncounted holderKind = iota // root and the server's user
	program                     // of this machine
	stranger                    // a network elsewhere, or a site
	ours                        // the server itself
)

// byTCP is the user of programs that come from this machine by TCP, where the kernel
// doesn't say who that is.
const byTCP = -2

// Reports is the Holder of what the server itself writes to senders.
var Reports = Holder{kind: ours}

// Holder returns for whom the mail of a user of this machine counts.
func (p Places) Holder(uid int) Holder {
	key, shares := p.Key(uid)
	if !shares {
		return Holder{}
	}
	return Holder{kind: program, user: key}
}

// HolderAt returns for whom mail counts that comes from an address; here says that
// it is one of this machine's.
func HolderAt(a netip.Addr, here bool) Holder {
	if here {
		return Holder{kind: program, user: byTCP}
	}
	return Holder{kind: stranger, network: Network(a)}
}

// Stranger reports whether it is somebody elsewhere.
func (h Holder) Stranger() bool { return h.kind == stranger }

// Counted reports whether what it has is counted.
func (h Holder) Counted() bool { return h.kind != uncounted }

// allStrangers is for whom the mail of all networks counts too.
var allStrangers = Holder{kind: stranger}

// withSites are the holder, and the sites around a network, for which its mail counts
// too.
func (h Holder) withSites() []Holder {
	all := make([]Holder, 1, 4) // and room for allStrangers
	all[0] = h
	if h.kind == stranger {
		for _, site := range Site(h.network.Addr()) {
			all = append(all, Holder{kind: stranger, network: site})
		}
	}
	return all
}

// Held counts what each has of the disk where mail is kept, so that nobody has all of
// it: what comes and what waits in the queue. The zero value is empty.
//
// Each has at most half of what the others leave of the room for mail: a user of this
// machine, a network, and what the server reports. All strangers together have at most
// half of the room, of that a network, and the sites around it, half of what the other
// strangers leave. So whoever comes next finds room, in octets and in files.
type Held struct {
	mu  sync.Mutex // guards what follows
	of  map[Holder]Amount
	all Amount // of all of them
}

// Take counts what a holder wants, if they may have it: see Fits.
func (d *Held) Take(h Holder, want, free Amount) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.fits(h, want, free) {
		return false
	}
	d.add(h, want)
	return true
}

// Fits reports whether a holder may have so much more. free is what mail may still
// take of the disk; what is counted already is not in it.
func (d *Held) Fits(h Holder, want, free Amount) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fits(h, want, free)
}

func (d *Held) fits(h Holder, want, free Amount) bool {
	return d.fitsIn(h, want, free, func(a Amount) int64 { return a.Octets }) &&
		d.fitsIn(h, want, free, func(a Amount) int64 { return a.Files })
}

// fitsIn is fits in one of the two respects.
func (d *Held) fitsIn(h Holder, want, free Amount, of func(Amount) int64) bool {
	has, n, left := of(d.of[h]), of(want), of(free)
	if n == 0 {
		return true
	}
	switch {
	case h.kind == uncounted:
		return n <= left
	case n > (left-has)/2: // has+n is more than left-n
		return false
	case h.kind != stranger:
		return true
	}
	theirs := of(d.all)/2 + left/2 - of(d.of[allStrangers]) // what is left of their half
	for _, x := range h.withSites() {
		if has := of(d.of[x]); has+n > (theirs+has)/2 {
			return false
		}
	}
	return true
}

// Add counts what a holder has, whether they may or not; less than nothing takes it
// back.
func (d *Held) Add(h Holder, n Amount) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(h, n)
}

func (d *Held) add(h Holder, n Amount) {
	if h.kind == uncounted {
		return
	}
	if d.of == nil {
		d.of = map[Holder]Amount{}
	}
	d.all = d.all.plus(n)
	holders := h.withSites()
	if h.kind == stranger {
		holders = append(holders, allStrangers)
	}
	for _, x := range holders {
		if d.of[x] = d.of[x].plus(n); d.of[x] == (Amount{}) {
			delete(d.of, x)
		}
	}
}

// Of returns what a holder has.
func (d *Held) Of(h Holder) Amount {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.of[h]
}

// Holders counts those that have something, and the wider ones around them.
func (d *Held) Holders() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.of)
}
