package local

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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
	Mailer     string // the command of option mailer, "" none

	ProgramDir  string        // the only programs that may run, as with smrsh(8); "" any
	ProgramTime time.Duration // after which a program is killed with all its processes; 0: 15 minutes
	Shells      string        // the list of login shells; "": /etc/shells

	FS disk.FS
	// Files writes the files; nil: a Mailboxes of the Person's own. A process
	// that writes mailboxes too gives the one that writes them.
	Files    *Mailboxes
	Accounts Accounts // of this machine, for option usermap; nil: as passwd(5) says
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
	if o.Accounts == nil {
		o.Accounts = Passwd("/etc/passwd")
	}
	if o.NameOf == nil {
		o.NameOf = nameOf
	}
	if o.Files == nil {
		o.Files = NewMailboxes(Options{FS: o.FS, Log: o.Log})
	}
	return &Person{o: o, aliases: alias.Open(o.Aliases)}
}

// programTime is how long a program may run where nobody says otherwise.
const programTime = 15 * time.Minute

// Run finds the job's item in the file where it stands, and runs the program or
// appends to the file. It returns when the outcome is certain. When ctx ends, a
// program is ended and the job deferred.
func (p *Person) Run(ctx context.Context, j Job) Result {
	if err := p.acts(j.User); err != nil {
		return deferred("4.3.5", "nothing can be run for this user", err)
	}
	if j.Item.Source == FromMailer {
		return p.runMailer(ctx, j)
	}
	t, own, err := p.item(ctx, j)
	switch {
	case errors.Is(err, ErrChanged):
		res := deferred("4.3.5", "the address's program or file was changed", err)
		res.Status = Changed
		return res
	case err != nil:
		return deferred("4.3.5", "the address's program or file can't be found now", err)
	}
	switch t.Kind {
	case alias.Program:
		return p.runText(ctx, t.Text, own, j)
	case alias.File:
		return p.o.Files.appendFile(ctx, p.o.Account, t.Text, asFile(j.Body, strings.HasSuffix(t.Text, "/")))
	}
	return deferred("4.3.5", "the address has no program or file", fmt.Errorf("%v is %v, which is not run", t, t.Kind))
}

// asFile makes what an mbox file has, or a file of a Maildir, of FormProgram: an
// empty line at its end, or no From_ line.
func asFile(body io.Reader, maildir bool) io.Reader {
	if !maildir {
		return io.MultiReader(body, strings.NewReader("\n"))
	}
	return &behindLine{r: bufio.NewReader(body)}
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

// runText runs the program of an alias, or one that the user named himself.
func (p *Person) runText(ctx context.Context, text string, own bool, j Job) Result {
	c, words, err := p.command(text, own)
	if err != nil {
		return deferred("4.7.0", words, err)
	}
	return p.runProgram(ctx, c, j)
}

// runMailer runs the program of option mailer, which may deliver where it
// likes, unless the user has a .forward.
func (p *Person) runMailer(ctx context.Context, j Job) Result {
	a := p.o.Account
	l := lookout{fs: p.o.FS, a: a}
	res := l.elsewhere(Delivery{Extension: j.Envelope.Extension, Final: j.Final})
	l.close()
	if res != nil {
		return *res
	}
	c, err := mailerCommand(p.o.Mailer, mailerValues(a, j.Envelope))
	if err != nil {
		return deferred("4.3.5", "mailer can't be run", err)
	}
	return p.runProgram(ctx, c, j)
}
