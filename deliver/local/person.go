package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"postoffice/internal/alias"
	"postoffice/internal/disk"
)

// PersonOptions say for whom a Person works, and what the configuration has to
// say about it.
type PersonOptions struct {
	Account     Account // whose ids this process has
	DefaultUser string  // the account that programs and files of aliases run as; nobody else runs them

	Aliases    string // the alias file, absolute
	AliasOwner int    // whose it must be; root's will always do
	Usermap    []string
	Delimiter  string
	Mailer     string // the command of option mailer, "" none

	ProgramDir  string        // the only programs that may run, as with smrsh(8); "" any
	ProgramTime time.Duration // after which a program is killed with all its processes; 0: 15 minutes
	Shells      string        // the list of login shells; "": /etc/shells

	Hostname string
	FS       disk.FS
	// Files writes the files; nil: a Mailboxes of the Person's own. A process
	// that writes mailboxes too gives the one that writes them.
	Files *Mailboxes
	// NameOf returns the account with this uid, "" none; nil: as passwd(5) says.
	NameOf func(uid int) string
	Log    *slog.Logger // nil: nothing is logged
}

// Person does what is done for one user with that user's ids: he reads his
// lists, runs his programs and appends to his files. Any number of goroutines
// may use it.
type Person struct {
	o       PersonOptions
	aliases *alias.Aliases
}

// NewPerson reads nothing yet.
func NewPerson(o PersonOptions) *Person {
	o.ProgramTime = cmp.Or(o.ProgramTime, programTime)
	o.Shells = cmp.Or(o.Shells, "/etc/shells")
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Person{o: o, aliases: alias.Open(o.Aliases)}
}

// programTime is how long a program may run where nobody says otherwise.
const programTime = 15 * time.Minute

// Run finds the job's item in the file where it stands, and runs the program or
// appends to the file. It returns when the outcome is certain. When ctx ends, a
// program is ended and the job deferred.
func (p *Person) Run(ctx context.Context, j Job) Result {
	return deferred("4.3.0", "programs can't be run now", errors.ErrUnsupported)
}

// List reads the file that g names and returns what stands in it. A file that
// is certainly not there is no line and no error; an *OwnerError says whom to
// ask instead; any other error names the file, the line and what to do, and
// means later.
func (p *Person) List(ctx context.Context, g Listing) ([]Line, error) {
	return nil, fmt.Errorf("%s: %w", strings.TrimSpace(g.Item.Name), errors.ErrUnsupported)
}
