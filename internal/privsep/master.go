package privsep

import (
	"context"
	"log/slog"
	"os"
	"time"

	"postoffice/deliver/local"
)

// The roles of processes, as argv[0] has them.
const (
	MasterRole = "postoffice: master"
	ServerRole = "postoffice: server"
)

// User is who the server runs as.
type User struct {
	Name     string
	UID, GID int
}

// MasterOptions configure RunMaster.
type MasterOptions struct {
	Settings  []byte        // for the server; at most MaxSettings
	Listeners []Listener    // given to the server, bound again when they break
	Session   *os.File      // one SMTP session on a unix socket, for a single pass; or nil
	OnePass   bool          // the server ends when the queue has been tried once
	Server    User          // who the server runs as; our own uid: it is not changed
	Mailboxes local.Options // As is filled in; Accounts is asked before NSS
	Names     Names         // how accounts that the passwd file lacks are found

	// Reload reads the configuration again on SIGHUP and returns new
	// settings. An error keeps the old ones. nil: SIGHUP does nothing.
	Reload func() (settings []byte, err error)
	// Ready is called once, when the first server answers.
	Ready func()

	Grace time.Duration // what the server has to end its sessions; 0: 20 s
	Log   *slog.Logger  // nil: nothing is logged
}

// MaxSettings bounds the settings, in octets.
const MaxSettings = 1 << 20

// RunMaster starts the server and works for it until ctx ends, SIGTERM or
// SIGINT comes, or, with OnePass, the server is done. It restarts a server that
// dies. If the first server ends before it is ready, that is an *ExitError.
func RunMaster(ctx context.Context, o MasterOptions) error { return nil }

// ExitError says that a process of ours ended and with which exit code.
type ExitError struct {
	Role string
	Code int    // sysexits(3); -1: a signal
	Text string // how it ended
}

func (e *ExitError) Error() string { return e.Role + " ended: " + e.Text }
