package greykeeper

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"postoffice/applets/smtpd/greylist"
	"postoffice/applets/smtpd/rates"
	"postoffice/internal/smtp"
)

// Mode is whether strangers wait.
type Mode uint8

const (
	Off    Mode = iota
	On          // they do
	Shadow      // they don't, and what would have been is counted and logged
)

// Options are a keeper's settings. They may change while it runs.
type Options struct {
	Mode  Mode
	Rules greylist.Rules
	Age   time.Duration // after which a key that hasn't come again is forgotten
	Defer bool          // what becomes of mail while the store can't be asked: it is deferred, else taken

	Written bool // who was written to from here passes at once
	After   int  // clients pass at once that brought so much good mail; 0: none do

	ExemptClients    func(netip.Addr) bool // nil: none
	ExemptSenders    []string              // each an address, or @ and a domain, in lower case
	ExemptRecipients []string

	// Pool names the provider that a client sends for: all of its addresses count as one.
	// "" is none. It ends with its context. nil: there are none.
	Pool func(ctx context.Context, domain string, a netip.Addr) string
}

// Stores are what a keeper keeps, each a part of a store of its own.
type Stores struct {
	Records greylist.Store // by key, smtpauth(5)
	Clients greylist.Store // how much good mail an address, a network or a pool has brought
	Written greylist.Store // whom somebody here has written to
	Hours   greylist.Store // what became of strangers in each hour
}

const (
	storeWait = 2 * time.Second // for all that the store is asked about one contact: a client waits for MAIL
	poolWait  = 5 * time.Second // for all that DNS is asked about one contact, for the same reason

	senderRate = 1000 // new senders a day of one address that get a record each: what comes beyond has one for its address
	maxNotes   = 1000 // what waits to be written down of mail that has passed: what doesn't fit costs somebody a wait
)

// Keeper asks and keeps the records of a server.
type Keeper struct {
	stores  Stores
	log     *slog.Logger
	options atomic.Pointer[Options]
	fresh   rates.Table // new senders
	limits  limits
	notes   chan note
	room    room
	trouble trouble

	mu      sync.Mutex // guards what follows
	hours   map[string]*greylist.Tally
	closed  bool
	wrote   map[string]int // recipients that each user's mail has had written down today
	wroteOn string         // that day
}

// New returns a keeper. It does nothing by itself before Run.
func New(s Stores, o Options, log *slog.Logger) *Keeper {
	k := &Keeper{stores: s, log: log, notes: make(chan note, maxNotes), limits: defaultLimits, hours: map[string]*greylist.Tally{}}
	k.trouble.log = log
	k.room.again = make(chan struct{}, 1)
	k.Use(o)
	return k
}

// Use puts other settings in the place of the present ones.
func (k *Keeper) Use(o Options) { k.options.Store(&o) }

// Mode is whether strangers wait now.
func (k *Keeper) Mode() Mode { return k.options.Load().Mode }

// Release ends the use of the stores, which another process may need: whoever comes after
// that is let through.
func (k *Keeper) Release() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
}

func (k *Keeper) released() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.closed
}

// Contact is who came.
type Contact struct {
	Sender  smtp.Path
	Client  netip.Addr
	Name    string // the client's in DNS; "" none that leads back to it
	Unnamed bool   // it has none, and not only because DNS didn't answer
	Ours    bool   // the sender is of a domain of ours: who claims that is no proof
}

// NotesWritten reports whether it is noted whom ours write to.
func (k *Keeper) NotesWritten() bool { return k.options.Load().Written }

// exempt reports whether a contact is none for the greylist, whatever its recipients are.
func (o *Options) exempt(c Contact) bool {
	return c.Client.IsLoopback() || o.ExemptClients != nil && o.ExemptClients(c.Client) || listed(o.ExemptSenders, c.Sender)
}

// ExemptAll reports whether all recipients of a message are exempt.
func (k *Keeper) ExemptAll(recipients []smtp.Recipient) bool {
	list := k.options.Load().ExemptRecipients
	for _, r := range recipients {
		if len(list) == 0 || !listed(list, r.Path) {
			return false
		}
	}
	return true
}

// listed reports whether a list has an address, or the domain of it.
func listed(list []string, p smtp.Path) bool {
	if len(list) == 0 || p.IsNull() {
		return false
	}
	whole := smtp.Fold(p.String())
	domain := "@" + smtp.DomainKey(p.Domain)
	for _, item := range list {
		if item == whole || item == domain {
			return true
		}
	}
	return false
}
