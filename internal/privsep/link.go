package privsep

import (
	"context"
	"os"

	"postoffice/deliver/local"
)

// Link is the server's end.
type Link struct{}

// Connect takes up the link that this process, started as ServerRole, has
// inherited, and waits for what the master hands over. From here on SIGHUP,
// SIGINT and SIGTERM are the master's affair: it tells the server to stop.
func Connect() (*Link, error) { return nil, nil }

// Settings are the octets of MasterOptions.Settings.
func (l *Link) Settings() []byte { return nil }

// OnePass says that the server is to try the queue once and end.
func (l *Link) OnePass() bool { return false }

// Listeners are the sockets to accept connections on.
func (l *Link) Listeners() []Listener { return nil }

// Session is MasterOptions.Session.
func (l *Link) Session() *os.File { return nil }

// Unrecorded are the results of deliveries that an earlier server asked for
// and did not record. They come first: record each, then say Recorded.
func (l *Link) Unrecorded() []TokenResult { return nil }

// TokenResult is the result of a delivery known by its token.
type TokenResult struct {
	Token  string
	Result local.Result
}

// Ready tells the master that this server answers.
func (l *Link) Ready() error { return nil }

// Done tells the master that the single pass is over; the server ends next.
func (l *Link) Done() error { return nil }

// Events are what the master has to say; the channel is closed with the link.
func (l *Link) Events() <-chan Event { return nil }

// Event is one of Stop, Reload or NewListener.
type Event any

// Stop: end the sessions, then the process.
type Stop struct{}

// Reload: new settings, already checked by the master.
type Reload struct{ Settings []byte }

// NewListener takes the place of the one with the same name that was Broken.
type NewListener struct{ Listener }

// Broken tells the master that the listener can't accept any more. The caller
// has closed it; a new one comes as an event when it could be bound.
func (l *Link) Broken(name string) error { return nil }

// Closed is closed when the master is gone: end at once, nobody is left who
// delivers.
func (l *Link) Closed() <-chan struct{} { return nil }

// Deliver has the master write d into the mailbox of d.User. The token names
// the delivery for as long as its result is not recorded; of two calls with one
// token only the first delivers.
func (l *Link) Deliver(ctx context.Context, token string, d local.Delivery) local.Result {
	return local.Result{}
}

// Recorded tells the master that the token's result is safe with us.
func (l *Link) Recorded(token string) {}

// Lookup asks the master for an account by NSS.
func (l *Link) Lookup(ctx context.Context, name string) (local.Account, error) {
	return local.Account{}, nil
}

// Accounts finds local users for the server: in the passwd file, and only
// where nsswitch.conf names more than files by asking the master.
func (l *Link) Accounts(n Names) local.Accounts { return nil }
