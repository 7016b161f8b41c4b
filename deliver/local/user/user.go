package user

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/local/mailbox"
	"postoffice/deliver/local/stalled"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/disk"
)

// Options say whose process this is, and what the configuration has to say
// about it.
type Options struct {
	Account     account.Account // whose ids this process has
	DefaultUser string          // the account that programs and files of aliases run as; nobody else runs them

	Aliases    string // the alias file, absolute
	AliasOwner int    // whose it must be; root's will always do
	Usermap    []string
	Mailer     string // the command of option mailer, "" none
	// Scanner is option av, which a Job FromScanner runs: Delivered is a clean message,
	// Bounced one that it finds bad, Deferred that it could not tell.
	Scanner Scanner
	// Escape is what has been done to the lines that look like a From_ line
	// already: EscapeFiles leaves those of a file to the User.
	Escape local.Escape

	ProgramDir  string        // the only programs that may run, as with smrsh(8); "" any
	ProgramTime time.Duration // after which a program is killed with all its processes; 0: 15 minutes
	Shells      string        // the list of login shells; "": /etc/shells

	FS disk.FS
	// Files writes the files; nil: a Mailboxes of the User's own. A process that
	// writes mailboxes too gives the one that writes them.
	Files    *mailbox.Mailboxes
	Accounts account.Accounts // of this machine, for option usermap; nil: as passwd(5) says
	// NameOf returns the account with this uid, "" none; nil: as this machine says.
	NameOf func(uid int) string
	// Alone reports whether nobody else is in the account's primary group; nil:
	// as passwd(5) and group(5) say.
	Alone func(a account.Account) (bool, error)
	Log   *slog.Logger // nil: nothing is logged

	// Homes says what a home directory that isn't there means.
	Homes mailbox.Homes
	// Mounts returns the text of mountinfo; nil: this process's.
	Mounts func() string

	between func(path string) // for tests: called before each step on a way
}

// User does what is done for one user with that user's ids: it reads lists,
// runs programs and appends to files. Any number of goroutines may use it.
type User struct {
	o       Options
	aliases *alias.Aliases
	lists   *stalled.Places // for who reads them
	reading atomic.Int32    // how many wait for one
}

// New reads nothing yet.
func New(o Options) *User {
	o.ProgramTime = cmp.Or(o.ProgramTime, programTime)
	o.Shells = cmp.Or(o.Shells, "/etc/shells")
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Accounts == nil {
		o.Accounts = account.Machine()
	}
	if o.Alone == nil {
		o.Alone = account.Machine().Alone
	}
	if o.NameOf == nil {
		o.NameOf = account.Machine().NameOf
	}
	if o.Files == nil {
		o.Files = mailbox.New(mailbox.Options{FS: o.FS, Log: o.Log})
	}
	return &User{o: o, aliases: alias.Open(o.Aliases), lists: stalled.New(o.Mounts)}
}

// programTime is how long a program may run where nobody says otherwise.
const programTime = 15 * time.Minute

// Run finds the job's item in the file where it stands, and runs the program or
// appends to the file. It returns when the outcome is certain. When ctx ends, a
// program is ended and the job deferred.
func (u *User) Run(ctx context.Context, j local.Job) local.Result {
	if err := u.acts(j.User); err != nil {
		return local.Settle(outcome.Deferral("4.3.5", "nothing can be run for this user", err))
	}
	switch j.Item.Source {
	case local.FromMailer:
		return u.runMailer(ctx, j)
	case local.FromScanner:
		return local.Settle(u.scan(ctx, j))
	}
	t, own, err := u.item(ctx, j)
	switch {
	case errors.Is(err, local.ErrChanged):
		return local.Result{Outcome: outcome.Deferral("4.3.5", "the address's program or file was changed", err), Answer: local.Changed}
	case err != nil:
		return local.Settle(outcome.Deferral("4.3.5", "the address's program or file can't be found now", local.Public(err)))
	}
	switch t.Kind {
	case alias.Program:
		return local.Settle(u.runText(ctx, t.Text, own, j))
	case alias.File:
		check := func(way []disk.Step) error { return u.checkWay(way, "the file "+t.Text, anyGroup) }
		return u.o.Files.AppendFile(ctx, u.o.Account, t.Text, check, u.asFile(j.Body, strings.HasSuffix(t.Text, "/")))
	}
	return local.Settle(outcome.Deferral("4.3.5", "the address has no program or file", fmt.Errorf("%v is %v, which is not run", t, t.Kind)))
}

// asFile makes what an mbox file has, or a file of a Maildir, of FormProgram: an
// empty line at its end, or no From_ line.
func (u *User) asFile(body io.Reader, maildir bool) io.Reader {
	if maildir {
		return &behindLine{r: bufio.NewReader(body)}
	}
	if u.o.Escape == local.EscapeFiles {
		body = local.EscapeBehindFirst(body)
	}
	return io.MultiReader(body, strings.NewReader("\n"))
}

// behindLine reads what stands behind the first line, which is short.
type behindLine struct {
	r    *bufio.Reader
	done bool
}

func (b *behindLine) Read(p []byte) (int, error) {
	if !b.done {
		if _, err := b.r.ReadString('\n'); err != nil {
			return 0, err
		}
		b.done = true
	}
	return b.r.Read(p)
}

// runText runs the program of an alias, or one that the user named.
func (u *User) runText(ctx context.Context, text string, own bool, j local.Job) outcome.Outcome {
	c, words, err := u.command(text, own)
	if err != nil {
		return outcome.Deferral("4.7.0", words, err)
	}
	return u.runProgram(ctx, c, j)
}

// runMailer runs the program of option mailer, which may deliver where it
// likes, unless the user has a .forward.
func (u *User) runMailer(ctx context.Context, j local.Job) local.Result {
	a := u.o.Account
	if res := mailbox.Elsewhere(u.o.FS, u.o.Homes, a, local.Delivery{Extension: j.Envelope.Extension, Final: j.Final}); res != nil {
		return *res
	}
	c, err := mailerCommand(u.o.Mailer, mailerValues(a, j.Envelope))
	if err != nil {
		return local.Settle(outcome.Deferral("4.3.5", "mailer can't be run", err))
	}
	return local.Settle(u.runProgram(ctx, c, j))
}
