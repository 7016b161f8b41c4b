package logins

import (
	"context"
	"sync"
	"time"

	"postoffice/applets/smtpd/login"
)

// againWait is how long a process that can't be started is not asked for again.
const againWait = time.Second

// Kept is our end of a process that is started when it is needed, and again when it has
// gone. The zero Kept has none.
type Kept[T interface {
	Alive() bool
	Close() error
}] struct {
	mu     sync.Mutex // guards what follows; held while one is started
	end    T
	is     bool
	failed error // why there is none
	until  time.Time
}

// Get returns it, and makes one where there is none.
func (k *Kept[T]) Get(ctx context.Context, start func(context.Context) (T, error)) (T, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var none T
	if k.is && k.end.Alive() {
		return k.end, nil
	}
	if k.is {
		k.end.Close()
		k.end, k.is = none, false
	}
	if k.failed != nil && time.Now().Before(k.until) {
		return none, k.failed
	}
	var err error
	if k.end, err = start(ctx); err != nil {
		k.end = none
	}
	k.is, k.failed, k.until = err == nil, err, time.Now().Add(againWait)
	return k.end, err
}

// Running returns the one that there is, without waiting for one that is being started;
// else the zero T.
func (k *Kept[T]) Running() (end T) {
	if k.mu.TryLock() {
		defer k.mu.Unlock()
		if k.is {
			return k.end
		}
	}
	return end
}

// Demanded are the logins of a process that is started when it is needed.
type Demanded struct {
	Current func(context.Context) (*Client, error) // starts it where none runs
	Running func() *Client                         // nil: none does
}

// Mechanisms are those of the process that runs; where none does PLAIN, which each can.
func (d Demanded) Mechanisms() []login.Mechanism {
	if c := d.Running(); c != nil {
		return c.Mechanisms()
	}
	return []login.Mechanism{{Name: login.Plain}}
}

// Begin begins a login; its first step starts the process where none runs.
func (d Demanded) Begin(c login.Client, mechanism string) login.Exchange {
	return &demanded{d: d, client: c, mechanism: mechanism}
}

// demanded is a login at the process that runs when it begins.
type demanded struct {
	d         Demanded
	client    login.Client
	mechanism string
	at        login.Exchange // nil: it has not begun
}

// Step is that of the process.
func (e *demanded) Step(ctx context.Context, said []byte) ([]byte, login.Result) {
	if e.at == nil {
		now, err := e.d.Current(ctx)
		if err != nil {
			return nil, login.Result{Answer: login.Later, Err: err}
		}
		e.at = now.Begin(e.client, e.mechanism)
	}
	return e.at.Step(ctx, said)
}

// Close ends it.
func (e *demanded) Close() {
	if e.at != nil {
		e.at.Close()
	}
}
