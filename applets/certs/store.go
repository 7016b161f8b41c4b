package certs

import (
	"cmp"
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

// SoonDays are how many days before a certificate's end that is told each day.
const SoonDays = 14

const (
	lookPause = time.Minute    // between two looks at the files
	tellPause = 24 * time.Hour // between two lines about a certificate that ends
)

// Options are what a Store reads.
type Options struct {
	Off         bool                         // there are to be none, not even our own
	Certs, Keys []string                     // files, in pairs; fewer keys: they stand with their certificates
	Dir         string                       // of our own certificate, where Certs is empty or nothing of it can be used
	FS          disk.FS                      // for Dir
	Hostname    string                       // for our own
	Check       func(crypto.PublicKey) error // says why a key can't be used; nil: all can
	Log         *slog.Logger

	lookPause time.Duration // shorter for tests
	now       func() time.Time
}

// Store is the certificates of a server, for the process that may read their files.
type Store struct {
	mu      sync.Mutex // guards what follows
	o       Options
	entries []entry // of o.Certs
	own     *Pair   // nil: not needed

	ended []string // files of certificates whose end was told on that day; of Watch alone
	day   int64
}

// entry is one pair of the options.
type entry struct {
	name  string
	pair  Pair   // without a Key while none could be read
	stamp stamp  // of the files as they were when they were looked at last
	wrong string // what was wrong with them then
	told  string // of that, what was told
}

// Open reads the certificates. What can't be used is told, and left out.
func Open(o Options) *Store {
	s := &Store{}
	s.Reload(o)
	return s
}

// Reload puts new options in place and reads all files again, and reports whether
// anything is another one than before.
func (s *Store) Reload(o Options) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.lookPause = cmp.Or(o.lookPause, lookPause)
	if o.now == nil {
		o.now = time.Now
	}
	before := s.entries
	s.o, s.entries = o, make([]entry, len(o.Certs))
	for i, name := range o.Certs {
		s.entries[i].name = name
		if j := slices.IndexFunc(before, func(e entry) bool { return e.name == name }); j >= 0 { // it keeps what it had if it can't be read now
			s.entries[i] = before[j]
		}
	}
	changed = !slices.EqualFunc(before, s.entries, func(a, b entry) bool { return a.name == b.name })
	return s.read(true) || changed
}

// look reads again what has changed.
func (s *Store) look() (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(false)
}

// read reads the files that have changed, or all. What is wrong is told when all are
// asked for, and else when it is still so at the next look: whoever renews a pair
// writes one file after the other. The caller holds mu.
func (s *Store) read(all bool) (changed bool) {
	for i := range s.entries {
		e := &s.entries[i]
		now := stamp{stampFile(e.name), stampFile(s.key(i))}
		same := now == e.stamp
		if same && !all && e.wrong == "" {
			continue
		}
		e.stamp = now
		p, err := Read(e.name, s.key(i), s.o.Check)
		if err != nil {
			text := err.Error()
			if all || same && e.wrong == text && e.told != text {
				s.refuse(e, err)
			}
			e.wrong = text
			continue
		}
		e.wrong, e.told = "", ""
		if p.Exposed != "" && (all || !same) {
			s.o.Log.LogAttrs(context.Background(), slog.LevelWarn, "key exposed", maillog.File(s.key(i)), maillog.Reason(p.Exposed))
		}
		if e.pair.Key == nil || !e.pair.equal(p) {
			e.pair, changed = p, true
			s.o.Log.LogAttrs(context.Background(), slog.LevelInfo, "certificate read", maillog.File(e.name),
				maillog.Reason(fmt.Sprintf("for %s, it ends in %d days", p.Names(), p.Days(s.o.now()))))
		}
	}
	return s.readOwn() || changed
}

// refuse tells that a pair can't be used.
func (s *Store) refuse(e *entry, err error) {
	reason := "it is left out until the file is mended"
	if e.pair.Key != nil {
		reason = "the one that was read before stays"
	}
	e.told = err.Error()
	s.o.Log.LogAttrs(context.Background(), slog.LevelError, "certificate refused", maillog.File(e.name), maillog.Err(err), maillog.Reason(reason))
}

// Wrong says what is wrong with certificates that can't be used.
func (s *Store) Wrong() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, e := range s.entries {
		if e.wrong != "" {
			all = append(all, e.wrong)
		}
	}
	return all
}

// key is the file of a certificate's key.
func (s *Store) key(i int) string {
	if i < len(s.o.Keys) {
		return s.o.Keys[i]
	}
	return s.o.Certs[i]
}

// readOwn sees to our own certificate, where it is needed. The caller holds mu.
func (s *Store) readOwn() (changed bool) {
	if s.o.Off || slices.ContainsFunc(s.entries, func(e entry) bool { return e.pair.Key != nil }) {
		changed = s.own != nil
		s.own = nil
		return changed
	}
	had := s.own
	if had != nil && had.File != "" && s.o.now().Before(had.Ends().Add(-renewIn)) {
		return false
	}
	p, err := own(s.o.FS, s.o.Dir, s.o.Hostname, s.o.now(), had)
	if had != nil && p.Key != nil && p.equal(*had) {
		s.keep(p)
		return false
	}
	if p.Key == nil {
		s.o.Log.LogAttrs(context.Background(), slog.LevelError, "no certificate", maillog.Err(err), maillog.Reason("TLS is not offered"))
		return false
	}
	reason := "clients can encrypt and don't know with whom they speak: option tls-cert names a certificate that they trust"
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
		reason += "; ours could not be kept and is made anew at each start: make room for it, or let root write there"
	}
	s.o.Log.LogAttrs(context.Background(), level, "own certificate used", append(errAttr(err), maillog.File(p.File), maillog.Reason(reason))...)
	s.own = &p
	return true
}

// keep notes that the certificate which was in memory has a file, if it has got one. The
// caller holds mu.
func (s *Store) keep(p Pair) {
	if p.File != s.own.File {
		s.o.Log.LogAttrs(context.Background(), slog.LevelInfo, "own certificate kept", maillog.File(p.File), maillog.Reason("it could not be written before; from now on it outlives a restart"))
		s.own = &p
	}
}

func errAttr(err error) []slog.Attr {
	if err == nil {
		return nil
	}
	return []slog.Attr{maillog.Err(err)}
}

// options are those of now.
func (s *Store) options() Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.o
}

// Pairs are those that can be used now, in the order of the options.
func (s *Store) Pairs() []Pair {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Pair
	for _, e := range s.entries {
		if e.pair.Key != nil {
			all = append(all, e.pair)
		}
	}
	if s.own != nil {
		all = append(all, *s.own)
	}
	return all
}

// Watch calls changed each time that a look finds another certificate, and tells of
// those that end soon, until ctx ends.
func (s *Store) Watch(ctx context.Context, changed func()) {
	tick := time.NewTicker(s.options().lookPause)
	defer tick.Stop()
	for {
		s.tellEnds()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.look() {
			changed()
		}
	}
}

// tellEnds tells once a day of each certificate that ends soon.
func (s *Store) tellEnds() {
	o := s.options()
	now := o.now()
	day := now.Unix() / int64(tellPause/time.Second)
	var soon []string
	for _, p := range s.Pairs() {
		if text := EndsSoon(p, now); text != "" {
			soon = append(soon, p.File)
			if day != s.day || !slices.Contains(s.ended, p.File) {
				o.Log.LogAttrs(context.Background(), slog.LevelWarn, "certificate ends", maillog.File(p.File), maillog.Reason(text))
			}
		}
	}
	s.ended, s.day = soon, day
}

// EndsSoon says that a certificate has ended or does so within SoonDays, "" if not.
func EndsSoon(p Pair, now time.Time) string {
	switch days := p.Days(now); {
	case days < 0:
		return fmt.Sprintf("it has ended %d days ago, renew it: senders that look at it send no mail", -days-1)
	case days <= SoonDays:
		return fmt.Sprintf("it ends in %d days, renew it", days)
	}
	return ""
}

// stamp tells one state of a pair's files from another.
type stamp struct{ cert, key fileStamp }

type fileStamp struct {
	dev, inode uint64
	size, time int64
	missing    bool
}

// stampFile looks at the file that a name leads to.
func stampFile(name string) fileStamp {
	info, err := os.Stat(name)
	if err != nil {
		return fileStamp{missing: true}
	}
	st := info.Sys().(*syscall.Stat_t)
	return fileStamp{dev: uint64(st.Dev), inode: uint64(st.Ino), size: info.Size(), time: info.ModTime().UnixNano()}
}
