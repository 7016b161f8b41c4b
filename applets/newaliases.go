package applets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"postoffice/internal/alias"
	"postoffice/internal/dbm"
	"postoffice/internal/sysexits"
)

var newaliases = Applet{
	Name:  "newaliases",
	Usage: "[host ...]",
	Short: "build the alias database from the alias file",
	Run: func(_ context.Context, env *Env) error {
		if err := env.Parse(); err != nil {
			return err
		}
		return buildAliases(env)
	},
}

// buildAliases makes the database of the alias file, or of the virtual
// domains that are named.
func buildAliases(env *Env) error {
	conf, err := env.Config()
	if err != nil {
		return err
	}
	if len(env.Args) == 0 {
		return buildDatabase(env, conf.Aliases)
	}
	for _, host := range env.Args {
		fmt.Fprintf(env.Stderr, "%s: not a known virtual domain\n", host)
	}
	return nil
}

// buildDatabase makes path.db of the alias file path. Where the text can't be
// read or understood, the old database stays.
func buildDatabase(env *Env, path string) error {
	entries, source, err := readAliases(env, path)
	if err != nil {
		return err
	}
	var c aliasCount
	b, err := dbm.Create(path+".db", dbm.Options{Source: source, Duplicate: func(kept, dropped dbm.Record) {
		text, line, _ := strings.Cut(string(dropped.Value), "\x00")
		_, first, _ := strings.Cut(string(kept.Value), "\x00")
		fmt.Fprintf(env.Stderr, "%s:%s: alias %s is defined in line %s already, which counts\n", path, line, dropped.Key, first)
		c.n--
		c.total -= len(dropped.Key) + len(text)
	}})
	if errors.Is(err, dbm.ErrLite) {
		for _, e := range entries {
			c.add(e.Name, targets(e))
		}
		fmt.Fprintf(env.Stderr, "%s: %s\n", path, c)
		say(env.Stderr, env.Program, "this build reads "+path+" itself and makes no database")
		return nil
	}
	if err != nil {
		return err
	}
	defer b.Abort()
	if err := b.Add([]byte("@"), []byte("@")); err != nil {
		return err
	}
	for _, e := range entries {
		value := targets(e)
		c.add(e.Name, value)
		if err := b.Add([]byte(lowerASCII(e.Name)), []byte(value+"\x00"+strconv.Itoa(e.Line))); err != nil {
			return exitWith(sysexits.DataErr, fmt.Errorf("%s:%d: %w", path, e.Line, err))
		}
	}
	if err := b.Commit(); err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "%s: %s\n", path, c)
	return nil
}

// targets is what an alias stands for, as text.
func targets(e alias.Entry) string {
	words := make([]string, len(e.Targets))
	for i, t := range e.Targets {
		words[i] = t.String()
	}
	return strings.Join(words, ", ")
}

// lowerASCII is how names are compared.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// aliasCount is what newaliases says of a file, in octets.
type aliasCount struct{ n, longest, total int }

func (c *aliasCount) add(name, value string) {
	c.n++
	c.longest = max(c.longest, len(value))
	c.total += len(name) + len(value)
}

// String is the line of original.md 1.6.
func (c aliasCount) String() string {
	count := func(n int, one, more string) string {
		if n == 1 {
			return "1 " + one
		}
		return strconv.Itoa(n) + " " + more
	}
	text := count(c.n, "alias", "aliases")
	if c.n > 1 {
		text += ", longest is " + count(c.longest, "byte", "bytes")
	}
	return text + ", " + count(c.total, "byte", "bytes") + " total."
}

// readAliases reads the alias file and says how it was when it was read. A
// missing one has no aliases. Each line that can't be understood is told.
func readAliases(env *Env, path string) ([]alias.Entry, dbm.Source, error) {
	before, err := dbm.SourceOf(path)
	if err != nil || before.Size < 0 {
		return nil, before, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, before, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, before, errors.Join(err, exitWith(sysexits.NoInput, fmt.Errorf("%s: not a regular file", path)))
	}
	entries, errs := alias.Parse(f)
	for i, err := range errs {
		se := (*alias.SyntaxError)(nil)
		if !errors.As(err, &se) {
			return nil, before, fmt.Errorf("%s: %w", path, err)
		}
		err = fmt.Errorf("%s:%d: %w", path, se.Line, se.Err)
		if se.Name != "" {
			err = fmt.Errorf("%s:%d: alias %s: %w", path, se.Line, se.Name, se.Err)
		}
		if i == len(errs)-1 {
			return nil, before, exitWith(sysexits.DataErr, err, "the old database stays in use")
		}
		say(env.Stderr, env.Program, err.Error())
	}
	after, err := dbm.SourceOf(path)
	if err == nil && !after.Equal(before) {
		err = exitWith(sysexits.TempFail, fmt.Errorf("%s: changed while it was read", path), "run newaliases again")
	}
	return entries, after, err
}
