package shares

import (
	"net/netip"
	"sync"
	"time"

	"postoffice/internal/peer"
	"postoffice/spool/envelope"
)

// Who says for whom a client's mail counts: a user of this machine, a network, or for
// what the server itself has written its reports. A message with the null sender
// counts for whoever brought it.
type Who struct {
	Places peer.Places           // which users share
	Here   func(netip.Addr) bool // which addresses are this machine's

	mu    sync.Mutex // guards what follows
	users map[int]peer.Holder
	until time.Time // they are good
}

const (
	maxUsers = 1000        // users of which it is kept for whom they count
	userWait = time.Minute // for how long, since accounts come and go
)

// Holder returns for whom mail with this Envelope.Client counts.
func (w *Who) Holder(client string) peer.Holder {
	if uid, ok := envelope.ClientUID(client); ok {
		return w.user(uid)
	}
	if uid, ok := envelope.ClientOwner(client); ok {
		return w.user(uid)
	}
	if a, ok := envelope.ClientAddr(client); ok {
		return peer.HolderAt(a, w.Here(a.Unmap()))
	}
	return peer.Reports
}

// user returns for whom a user's mail counts. To know whether a uid is an account's,
// files have to be read.
func (w *Who) user(uid int) peer.Holder {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.After(w.until) || len(w.users) >= maxUsers {
		w.users, w.until = map[int]peer.Holder{}, now.Add(userWait)
	}
	h, ok := w.users[uid]
	if !ok {
		h = w.Places.Holder(uid)
		w.users[uid] = h
	}
	return h
}
