package state

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"postoffice/internal/dbm/store"
	"postoffice/internal/maillog"
)

// Parts of the store, by who keeps something in it.
const (
	Greylist = "greylist/" // records by key, smtpauth(5)

	GreylistClients = "greylist-clients/" // good mail of clients
	GreylistWritten = "greylist-written/" // whom ours have written to
	GreylistHours   = "greylist-hours/"   // what became of strangers in each hour

	Scores = "coal/"
	Rates  = "rates/"
)

// State is the store of a running server, which opens it when something first needs it.
// One goroutine uses it, but for Opened.
type State struct {
	dbDir string
	log   *slog.Logger
	store atomic.Pointer[store.Store] // nil: nothing has needed it

	closing context.Context // ends when it is to be closed
	close   context.CancelFunc
	kept    map[string]bool // parts that a table is kept in
	work    sync.WaitGroup  // of these
}

// New returns a state that has opened nothing.
func New(dbDir string, log *slog.Logger) *State {
	s := &State{dbDir: dbDir, log: log, kept: map[string]bool{}}
	s.closing, s.close = context.WithCancel(context.Background())
	return s
}

// Part returns a part of the store, and starts to open that if it isn't open yet.
func (s *State) Part(prefix string) store.Part {
	if s.store.Load() == nil {
		s.store.Store(store.Start(Dir(s.dbDir), store.Options{Mend: Mend(s.dbDir), Log: s.log}))
	}
	return s.store.Load().Part(prefix)
}

// Opened returns a part of the store for whoever asks over the control socket; ok is false
// where nothing has needed the store.
func (s *State) Opened(prefix string) (p store.Part, ok bool) {
	open := s.store.Load()
	if open == nil {
		return p, false
	}
	return open.Part(prefix), true
}

// Close saves the tables and lets go of the store: whoever asks a part after that gets
// store.ErrClosed.
func (s *State) Close() {
	s.close()
	s.work.Wait()
	open := s.store.Load()
	if open == nil {
		return
	}
	if err := open.Close(); err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "store not closed", maillog.File(Dir(s.dbDir)), maillog.Err(err))
	}
}
