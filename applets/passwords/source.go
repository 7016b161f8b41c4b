package passwords

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the settings of a Source.
type Options struct {
	File    string // option relay-passwords; "" none
	Command string // option relay-password-command: USER:/path args, for what the file doesn't name; "" none
}

// A Source answers with passwords, by the settings that it was given last.
type Source struct {
	now atomic.Pointer[Options]

	mu      sync.Mutex          // guards what follows; one command runs at a time
	printed map[string]*printed // by host and user
}

// printed is what a command has printed.
type printed struct {
	line string
	err  error
	at   time.Time
}

// NewSource returns a Source.
func NewSource(o Options) *Source {
	s := &Source{}
	s.Use(o)
	return s
}

// Use takes new settings.
func (s *Source) Use(o Options) {
	s.now.Store(&o)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.printed = map[string]*printed{}
}

// Password returns the password of a user at a host. again says that the one given last
// was refused. The error says what to do.
func (s *Source) Password(ctx context.Context, host, user string, again bool) (string, error) {
	o := s.now.Load()
	password, err := find(o.File, host, user, os.Geteuid())
	if o.Command == "" || !errors.Is(err, errNone) {
		return password, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, good := host+"\x00"+user, freshWait
	if again {
		good = againWait
	}
	p := s.printed[key]
	if p == nil || time.Since(p.at) > good {
		p = &printed{}
		p.line, p.err = ask(ctx, o.Command, host, user)
		p.at = time.Now()
		s.printed[key] = p
	}
	return p.line, p.err
}
