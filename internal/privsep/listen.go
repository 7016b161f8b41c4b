package privsep

import (
	"context"
	"log/slog"
	"os"
)

// Listener is a listening socket that is handed from process to process.
type Listener struct {
	Name    string   // "submission", "control", or the address: tells them apart
	Network string   // "tcp4", "tcp6", "unix", or "" for one that was inherited and can't be bound again
	Address string   // host:port or path
	File    *os.File // the socket
}

// Submission and Control are the names of the two unix sockets in the run
// directory, and their file names there.
const (
	Submission = "submission"
	Control    = "control"
)

// Listen binds host:port addresses. An empty host is every address of the
// machine, IPv4 and IPv6 bound apart (only IPv4 where the machine has no IPv6).
// A host name is bound on each of its addresses. Either all are bound or none.
func Listen(ctx context.Context, addresses []string, log *slog.Logger) ([]Listener, error) {
	return nil, nil
}

// ListenUnix makes a listening socket at path, usable by everybody. What was
// there is replaced in one step: the caller holds the lock of the directory.
func ListenUnix(name, path string) (Listener, error) { return Listener{}, nil }

// Inherited takes over the sockets of socket activation (LISTEN_FDS, see
// sd_listen_fds(3)) and removes the variables. It must run before
// CloseOnExecAll and before anything opens a file.
func Inherited() ([]Listener, error) { return nil, nil }
