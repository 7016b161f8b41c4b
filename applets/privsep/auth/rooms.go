package auth

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"postoffice/deliver/local/mailbox"
	"postoffice/deliver/local/quota"
	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/vhost"
)

const (
	maxCounting = 16          // mailboxes that are counted at a time, and questions about them; a dead file system keeps so many
	maxOfDomain = 4           // of these of one domain
	countFor    = time.Second // whoever asks waits: what isn't known then refuses nothing, and the delivery counts again
)

var (
	errCounting = errors.New("what is in the mailbox isn't counted yet")
	errBusy     = errors.New("many mailboxes are being counted now")
)

// rooms counts what is in mailboxes, beside the questions after users, and remembers it
// for a while. It makes nobody wait longer than countFor.
type rooms struct {
	count func(domain, name string, enough int64) (int64, error)
	book  quota.Book

	mu       sync.Mutex // guards what follows
	counting map[string]*counting
	asked    map[string]int // questions under way, by domain
	busy     map[string]int // what counts, by domain
}

// counting is one mailbox that is being counted.
type counting struct {
	done chan struct{} // closed behind what follows
	n    int64
	err  error
}

func newRooms(count func(domain, name string, enough int64) (int64, error)) *rooms {
	return &rooms{count: count, counting: map[string]*counting{}, asked: map[string]int{}, busy: map[string]int{}}
}

// count is what is in one of the mailboxes, which belong to who this process is.
func (w Where) count(domain, name string, enough int64) (int64, error) {
	v := mailbox.Virtual{Dir: w.Spool, Maildir: w.Maildir, User: account.Account{Name: "the vhost-user", UID: os.Geteuid(), GID: os.Getegid()}}
	return v.Used(disk.OS(), name, domain, enough, func() {})
}

// Used returns how many octets are in a mailbox.
func (r *rooms) Used(ctx context.Context, domain, name string, enough int64) (int64, error) {
	if err := errors.Join(vhost.CheckName(name), vhost.CheckAddress(name, domain)); err != nil {
		return 0, err
	}
	key := name + "@" + domain
	if n, ok := r.book.Get(key, time.Now()); ok {
		return n, nil
	}
	c, err := r.begin(key, domain, name, enough)
	if err != nil {
		return 0, err
	}
	defer r.left(r.asked, domain)
	late := time.NewTimer(countFor)
	defer late.Stop()
	select {
	case <-c.done:
		return c.n, c.err
	case <-late.C:
		return 0, errCounting
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// begin has a mailbox counted, unless it is already. left(r.asked) follows.
func (r *rooms) begin(key, domain, name string, enough int64) (*counting, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counting[key]
	if r.asked[domain] == maxOfDomain || c == nil && (len(r.counting) == maxCounting || r.busy[domain] == maxOfDomain) {
		return nil, errBusy
	}
	r.asked[domain]++
	if c != nil {
		return c, nil
	}
	c = &counting{done: make(chan struct{})}
	r.counting[key] = c
	r.busy[domain]++
	go func() {
		from := time.Now()
		if c.n, c.err = r.count(domain, name, enough); c.err == nil {
			r.book.Put(key, c.n, from, time.Now())
		}
		r.mu.Lock()
		delete(r.counting, key)
		r.mu.Unlock()
		r.left(r.busy, domain)
		close(c.done)
	}()
	return c, nil
}

// left takes one off what a domain has.
func (r *rooms) left(of map[string]int, domain string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if of[domain]--; of[domain] == 0 {
		delete(of, domain)
	}
}

// Counted counts in this process, for whoever may read the mailboxes itself.
func Counted(w Where) vhost.Mailboxes { return newRooms(w.count) }
