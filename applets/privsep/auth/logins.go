package auth

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"postoffice/applets/logins/accounts"
	"postoffice/applets/privsep/logins"
	"postoffice/applets/smtpd/login"
	"postoffice/vhost"
)

// countWait is how long it is taken as known who can log in by SCRAM.
const countWait = time.Minute

// serveLogins answers the link of logins. Where that ends the questions go on.
func serveLogins(link *net.UnixConn, s *vhost.Store, secret []byte) {
	defer link.Close()
	source, err := accounts.New(&users{store: s}, secret)
	if err == nil {
		logins.Serve(link, source) // the server sees the end of it, whatever that was
	}
}

// Local checks logins in this process, for an ordinary user's server, which may read the
// files itself.
func Local(s *vhost.Store, secret []byte) (login.Source, error) {
	return accounts.New(&users{store: s}, secret)
}

// users are the accounts of virtual domains.
type users struct {
	store *vhost.Store

	mu       sync.Mutex // guards what follows
	verified vhost.Verified
	counting bool
	counted  time.Time
	scram    bool
}

// Find returns the account of an address.
func (u *users) Find(ctx context.Context, name string) (accounts.Account, error) {
	local, domain, ok := vhost.Cut(name)
	if !ok {
		return accounts.Account{Name: name}, accounts.ErrNone
	}
	l, err := u.store.Login(ctx, domain, local)
	switch {
	case errors.Is(err, vhost.ErrNoUser):
		return accounts.Account{Name: local + "@" + domain}, accounts.ErrNone
	case err != nil:
		return accounts.Account{}, err
	}
	a := accounts.Account{Name: l.Name, Hash: l.Hash, Verifier: l.Verifier}
	if l.Closed {
		a.Closed = errClosed
	}
	return a, nil
}

var errClosed = errors.New("the account is disabled: postoffice vpasswd enable opens it")

// Scram reports whether each user had a verifier when they were counted last. That is
// done beside whoever asks: a domain may have a million users.
func (u *users) Scram() (some, all bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.counting && time.Since(u.counted) > countWait {
		u.counting = true
		go u.count()
	}
	return true, u.scram
}

func (u *users) count() {
	n, err := u.verified.Without(context.Background(), u.store)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.counting, u.counted, u.scram = false, time.Now(), n == 0 && err == nil
}
