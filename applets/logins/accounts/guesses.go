package accounts

import (
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"postoffice/applets/smtpd/rates"
	"postoffice/internal/smtp"
)

const (
	maxGuesses = 30   // wrong passwords for an account in an hour, from all who never logged in to it
	maxKnown   = 4096 // accounts and networks that are remembered to belong together
)

// guesses are the wrong passwords of all accounts, those that there aren't too. Who has
// logged in to an account from a network is known there, and doesn't meet the bound that
// strangers' guesses fill: nobody keeps another one out.
type guesses struct {
	mu    sync.Mutex // guards what follows
	salt  []byte
	table rates.Table
	known map[netip.Addr]int64 // by both names, and when it was last so
	turn  int64
}

// limits are those of one account. The table of rates counts by address, and an account
// is one there that nobody has: the hash of its name.
func limits() rates.Limits {
	l := rates.Limits{Per: time.Hour}
	l.Most[rates.Logins] = maxGuesses
	return l
}

// key is a name of one or more words as an address of the table.
func (g *guesses) key(words ...string) netip.Addr {
	if g.salt == nil {
		g.salt = []byte(rand.Text())
	}
	h := sha256.New()
	h.Write(g.salt)
	for _, w := range words {
		h.Write([]byte(smtp.Fold(w)))
		h.Write([]byte{0})
	}
	return netip.AddrFrom16([16]byte(h.Sum(nil)[:16]))
}

// wait is how long an account can't be asked about from a network; 0 is not at all.
func (g *guesses) wait(account, network string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.known[g.key(account, network)]; ok {
		return 0
	}
	r, ok := g.table.Look(time.Now(), g.key(account), rates.Logins, limits())
	if ok {
		return 0
	}
	return r.Wait.Round(time.Second)
}

// wrong counts a wrong password.
func (g *guesses) wrong(account, network string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.known[g.key(account, network)]; !ok {
		g.table.Count(time.Now(), g.key(account), rates.Logins, limits())
	}
}

// right remembers that who is in a network knows the password. What was so longest ago is
// forgotten for it where there is no room.
func (g *guesses) right(account, network string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known == nil {
		g.known = map[netip.Addr]int64{}
	}
	g.turn++
	g.known[g.key(account, network)] = g.turn
	if len(g.known) <= maxKnown {
		return
	}
	for k, at := range g.known { // half of them, so that this is rare
		if at <= g.turn-maxKnown/2 {
			delete(g.known, k)
		}
	}
}
