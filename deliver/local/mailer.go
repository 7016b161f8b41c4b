package local

import "context"

// Mailer does what is done with users' rights: the master behind a link, or
// this process. Deliver and Run return when the outcome is certain.
type Mailer interface {
	// Deliver writes a message into a mailbox. The token names the delivery. A
	// Result is Forwarded where the account has a .forward, which List reads.
	Deliver(ctx context.Context, token string, d Delivery) Result
	// Run runs a program or appends to a file.
	Run(ctx context.Context, token string, j Job) Result
	// Recorded says that the result of the delivery with this token is in the
	// spool, so that it need not be kept any longer.
	Recorded(token string)

	// Forwards reports whether the account has a .forward (or .forward+extension).
	Forwards(ctx context.Context, user, extension string) (bool, error)
	// List reads a list. A file that isn't there is no lines and no error; an
	// *OwnerError says whom to ask instead; any other error means later.
	List(ctx context.Context, l Listing) ([]Line, error)
}

// TokenResult is the result of a delivery that ended without being recorded,
// because the process that asked for it died.
type TokenResult struct {
	Token  string
	Result Result
}
