package vhost

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"postoffice/internal/account"
	"postoffice/internal/alias"
	"postoffice/internal/disk"
	"postoffice/vhost/index"
)

const (
	maxIndexed     = 8_000_000 // users in all indexes in memory, of eight octets each
	fileWeight     = 20_000    // users that an open file of an index counts as
	maxKept        = 20_000    // indexes that are known
	maxAliases     = 64        // domains whose aliases are kept open
	maxAliasesText = 1 << 20   // octets of an aliases file without a database
	maxValue       = 60 << 10  // octets of what an alias stands for
)

// The answers that are no.
var (
	ErrNoUser  = errors.New("no such user in the virtual domain")
	ErrNoAlias = errors.New("no such alias in the virtual domain")
)

// Store answers for the users and aliases of virtual domains. It reads what it needs
// when it is asked, and again when that has changed. Any number of goroutines may use
// it.
type Store struct {
	dir      string
	domains  *Domains
	accounts account.Accounts
	large    chan struct{} // holds one for each large passwd file that is being read
	key      index.Key     // of names in all indexes
	kept     *kept         // those of large files; nil: they are in memory

	mu      sync.Mutex // guards what follows
	places  map[string]*list.Element
	recent  *list.List // of *place, the one that was asked last in front
	indexed int
	aliases []*openAliases // the one that was asked last in front
}

// openAliases are the aliases of a domain. The Store's mutex guards what is not the file.
type openAliases struct {
	path  string
	file  *alias.Aliases
	users int  // that look something up
	aside bool // it is closed by the last of them
}

// New returns a Store for a directory of virtual domains, whose owners are accounts. Its
// indexes are in memory.
func New(dir string, accounts account.Accounts) *Store {
	return &Store{dir: dir, key: randomKey(), domains: OpenDomains(dir), accounts: accounts,
		places: map[string]*list.Element{}, recent: list.New(), large: make(chan struct{}, maxLarge)}
}

// A Box is what mail has to know of a user.
type Box struct {
	Name  string // as the passwd file spells it
	Quota int64  // octets that the mailbox may have; 0: the line says nothing; Unbound
}

// Unbound is Box.Quota of a mailbox that may have what it likes.
const Unbound = -1

// User returns what mail has to know of a user. ErrNoUser is a definite answer; any other
// error means that it isn't known now.
func (s *Store) User(ctx context.Context, domain, name string) (b Box, err error) {
	u, err := s.user(ctx, domain, name)
	if err == nil {
		b.Name = u.Name
		if b.Quota, err = u.Quota(); err != nil {
			err = fmt.Errorf("virtual domain %s: the line of %s in %s: %w", domain, u.Name, filepath.Join(s.dir, domain, PasswdFile), err)
		}
	}
	return b, err
}

// user reads a user's line. A file that another one takes the place of meanwhile is read
// once more.
func (s *Store) user(ctx context.Context, domain, name string) (u User, err error) {
	if CheckName(name) != nil || CheckAddress(name, domain) != nil {
		return u, ErrNoUser
	}
	for range 2 {
		if u, err = s.lookUser(ctx, domain, name); !errors.Is(err, errChanged) {
			break
		}
	}
	return u, err
}

func (s *Store) lookUser(ctx context.Context, domain, name string) (u User, err error) {
	dir, owner, err := s.open(ctx, domain)
	if err != nil {
		return u, err
	}
	defer dir.Close()
	path := filepath.Join(s.dir, domain, PasswdFile)
	f, info, err := openFile(dir, path, owner)
	if err != nil {
		return u, fmt.Errorf("virtual domain %s: %w", domain, err)
	}
	defer f.Close()
	u, ok, err := s.find(f, info, domain, name)
	if err == nil {
		err = unchanged(f, info)
	}
	if err != nil {
		return User{}, fmt.Errorf("virtual domain %s: %s: %w", domain, path, err)
	}
	if !ok {
		return User{}, ErrNoUser
	}
	return u, nil
}

// find looks a user up in the open passwd file.
func (s *Store) find(f *os.File, info disk.Info, domain, name string) (u User, ok bool, err error) {
	x, err := s.indexOf(f, info, domain)
	if err != nil {
		return u, false, err
	}
	u, ok, err = x.find(f, name)
	if errors.Is(err, index.ErrDamaged) {
		s.spoil(domain, x, err)
	}
	if errors.Is(err, index.ErrDamaged) || errors.Is(err, index.ErrClosed) {
		err = errChanged
	}
	if err == nil && !ok {
		err = x.broken // not known to be unknown
	}
	return u, ok, err
}

// open goes to the directory of an active domain.
func (s *Store) open(ctx context.Context, domain string) (*disk.Walk, account.Account, error) {
	d, ok, err := s.domains.Find(domain)
	if err == nil && !ok {
		err = fmt.Errorf("%s has no such active domain", s.domains.Path())
	}
	var owner account.Account
	if err == nil {
		owner, err = s.accounts.Lookup(ctx, d.Owner)
		if err != nil {
			err = fmt.Errorf("its owner %q in %s:%d: %w", d.Owner, s.domains.Path(), d.Line, err)
		}
	}
	var dir *disk.Walk
	if err == nil {
		dir, err = openDir(filepath.Join(s.dir, domain), owner)
	}
	if err != nil {
		return nil, owner, fmt.Errorf("virtual domain %s: %w", domain, err)
	}
	return dir, owner, nil
}

// Check says why the files of an active domain can't be used as they are: whose they are
// and who may write and read them, not what stands in them.
func (s *Store) Check(ctx context.Context, domain string) error {
	dir, owner, err := s.open(ctx, domain)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, _, err := openFile(dir, filepath.Join(s.dir, domain, PasswdFile), owner)
	if err == nil {
		f.Close() // it was only opened
		_, err = checkAliases(dir, AliasesPath(s.dir, domain), owner)
	}
	if err != nil {
		return fmt.Errorf("virtual domain %s: %w", domain, err)
	}
	return nil
}

// An Alias is what a name of a virtual domain stands for.
type Alias struct {
	Line  int    // in the aliases file, counted from 1; 0 where that isn't known
	Value string // as it may stand there
}

// Alias returns what the name stands for in its domain. ErrNoAlias is a definite
// answer; any other error means that it isn't known now.
func (s *Store) Alias(ctx context.Context, domain, name string) (a Alias, err error) {
	dir, owner, err := s.open(ctx, domain)
	if err != nil {
		return a, err
	}
	defer dir.Close()
	path := AliasesPath(s.dir, domain)
	any, err := checkAliases(dir, path, owner)
	if err != nil {
		return a, fmt.Errorf("virtual domain %s: %w", domain, err)
	}
	if !any {
		return a, ErrNoAlias
	}
	a, err = s.lookUp(ctx, path, name)
	if err != nil && !errors.Is(err, ErrNoAlias) {
		err = fmt.Errorf("virtual domain %s: %w", domain, err)
	}
	return a, err
}

// checkAliases looks at the aliases file and its database, and says whether there is
// one.
func checkAliases(dir *disk.Walk, path string, owner account.Account) (any bool, err error) {
	for _, path := range []string{path + ".db", path} {
		info, err := dir.Lstat(filepath.Base(path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = checkFile(info, path, owner)
		}
		if err != nil {
			return false, err
		}
		if !any && info.Size > maxAliasesText && !strings.HasSuffix(path, ".db") {
			return false, fmt.Errorf("%s has more than %d octets: run newaliases %s", path, maxAliasesText, filepath.Base(filepath.Dir(path)))
		}
		any = true
	}
	return any, nil
}

func (s *Store) lookUp(ctx context.Context, path, name string) (a Alias, err error) {
	open := s.useAliases(path)
	defer s.leaveAliases(open)
	e, err := open.file.Find(ctx, name)
	if errors.Is(err, alias.ErrNotFound) {
		if err = open.file.Damage(); err == nil { // else it is not known to be unknown
			err = ErrNoAlias
		}
	}
	if err != nil {
		return a, err
	}
	words := make([]string, len(e.Targets))
	for i, t := range e.Targets {
		words[i] = t.String()
	}
	a = Alias{Line: e.Line, Value: strings.Join(words, ", ")}
	if len(a.Value) > maxValue {
		return a, fmt.Errorf("%s:%d: alias %s stands for more than %d octets: make several of it", path, e.Line, e.Name, maxValue)
	}
	return a, nil
}

// useAliases returns the aliases of a file, which is put in front; leaveAliases follows.
// One that is put aside is closed when nobody looks anything up there.
func (s *Store) useAliases(path string) *openAliases {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.aliases, func(a *openAliases) bool { return a.path == path })
	if i < 0 {
		if i = len(s.aliases); i == maxAliases {
			i--
			last := s.aliases[i]
			last.aside = true
			last.close()
			s.aliases = s.aliases[:i]
		}
		s.aliases = append(s.aliases, &openAliases{path: path, file: alias.Open(path)})
	}
	a := s.aliases[i]
	copy(s.aliases[1:i+1], s.aliases[:i])
	s.aliases[0] = a
	a.users++
	return a
}

func (s *Store) leaveAliases(a *openAliases) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.users--
	a.close()
}

// close closes what is put aside and nobody uses.
func (a *openAliases) close() {
	if a.aside && a.users == 0 {
		a.file.Close()
	}
}

// AliasesPath is the aliases file of a domain.
func AliasesPath(dir, domain string) string { return filepath.Join(dir, domain, AliasesFile) }
