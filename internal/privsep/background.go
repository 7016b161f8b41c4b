package privsep

import (
	"context"
	"os"
	"time"
)

// Background starts a master behind the calling process.
type Background struct {
	Args    []string      // what follows argv[0]
	Env     []string      // nil: none but PATH
	Session *os.File      // an SMTP session's end to hand over, or nil
	Wait    time.Duration // for it to be ready; 0: 60 s
}

// Start starts /proc/self/exe as MasterRole in a session of its own and returns
// when it is ready; it then has no terminal and no descriptor of ours. If it
// ends before, its exit code is in the *ExitError and its words were written to
// our standard error.
func (b Background) Start(ctx context.Context) error { return nil }

// Starter is the process that started this master with Background.
type Starter struct {
	Session *os.File // or nil
}

// FromStarter takes up the descriptors that Background.Start gave this
// process.
func FromStarter() (*Starter, error) { return nil, nil }

// Ready lets go of the starter: standard input, output and error become
// /dev/null, then it is told.
func (s *Starter) Ready() error { return nil }
