package applets

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/sysexits"
	"postoffice/applets/virtual"
	"postoffice/internal/alias"
	"postoffice/internal/dbm"
	"postoffice/internal/smtp"
	"postoffice/vhost"
)

var newaliases = cmdline.Applet{
	Name:    "newaliases",
	Usage:   "[host ...]",
	Short:   "build the alias database from the alias file",
	Ignored: cmdline.SendmailIgnored,
	Run: func(_ context.Context, env *cmdline.Env) error {
		if err := env.Parse(); err != nil {
			return err
		}
		return buildAliases(env)
	},
}

// buildAliases makes the database of the alias file, or of the virtual
// domains that are named.
func buildAliases(env *cmdline.Env) error {
	conf, err := env.Config()
	if err != nil {
		return err
	}
	if len(env.Args) == 0 {
		text, err := openAliases(conf)
		if err != nil {
			return err
		}
		return buildDatabase(env, conf, text)
	}
	var last error
	for _, host := range env.Args {
		if err := buildVirtual(env, conf, host); err != nil {
			if last != nil {
				env.Say(last.Error())
			}
			last = err
		}
	}
	return last
}

// buildVirtual makes the database of a virtual domain, with its owner's rights. A name
// that is none is told of and is no error, as it was in the original.
func buildVirtual(env *cmdline.Env, conf *config.Config, host string) error {
	_, _, err := virtual.Find(conf, host)
	if conf.VHostDir == "" || err != nil && cmdline.ExitStatus(err) != sysexits.DataErr && cmdline.ExitStatus(err) != sysexits.NoPerm {
		fmt.Fprintf(env.Stderr, "%s: not a known virtual domain\n", host)
		return nil
	}
	return virtual.AsOwner(conf, host, func(dir string) error {
		path := filepath.Join(dir, vhost.AliasesFile)
		source, err := dbm.SourceOf(path)
		if err != nil {
			return err
		}
		text, err := openText(path, source)
		if err != nil {
			return err
		}
		text.virtual = true
		return buildDatabase(env, conf, text)
	})
}

// buildDatabase makes the database beside the alias file, which it closes. Where the text
// can't be read or understood, the old database stays.
func buildDatabase(env *cmdline.Env, conf *config.Config, text *aliasText) error {
	defer text.close()
	path := text.path
	var c aliasCount
	circles := circlesOf(conf)
	mode, group := text.readers()
	b, err := dbm.Create(path+".db", dbm.Options{Source: text.source, Mode: mode, Group: group, Duplicate: func(kept, dropped dbm.Record) {
		value, line, _ := strings.Cut(string(dropped.Value), "\x00")
		_, first, _ := strings.Cut(string(kept.Value), "\x00")
		fmt.Fprintf(env.Stderr, "%s:%s: alias %s is defined in line %s already, which counts\n", path, line, dropped.Key, first)
		c.n--
		c.total -= len(dropped.Key) + len(value)
	}})
	if errors.Is(err, dbm.ErrLite) {
		err := text.each(env, func(e alias.Entry) error { circles.Add(e); text.remark(env, e); return c.add(e) })
		if err != nil {
			return err
		}
		text.tellCircles(env, conf, circles)
		fmt.Fprintf(env.Stderr, "%s: %s\n", path, c)
		env.Say("this build reads " + path + " itself and makes no database")
		return nil
	}
	if err != nil {
		return notMade(err)
	}
	defer b.Abort()
	if err := b.Add([]byte("@"), []byte("@")); err != nil {
		return err
	}
	err = text.each(env, func(e alias.Entry) error {
		_ = c.add(e)
		circles.Add(e)
		text.remark(env, e)
		err := b.Add([]byte(smtp.Fold(e.Name)), []byte(targets(e)+"\x00"+strconv.Itoa(e.Line)))
		if errors.Is(err, dbm.ErrTooLong) {
			err = cmdline.ExitWith(sysexits.DataErr, fmt.Errorf("%s:%d: %w", path, e.Line, err))
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := b.Commit(); err != nil {
		return notMade(err)
	}
	text.tellCircles(env, conf, circles)
	fmt.Fprintf(env.Stderr, "%s: %s\n", path, c)
	return nil
}

// notMade says what to do where a database can't be written.
func notMade(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return cmdline.ExitWith(sysexits.NoPerm, err, "the database is made beside the text: run this as root, or with -C and a configuration whose option aliases names a file of your own")
	}
	return err
}

// targets is what an alias stands for, as text.
func targets(e alias.Entry) string {
	words := make([]string, len(e.Targets))
	for i, t := range e.Targets {
		words[i] = t.String()
	}
	return strings.Join(words, ", ")
}

// aliasCount is what newaliases says of a file, in octets.
type aliasCount struct{ n, longest, total int }

func (c *aliasCount) add(e alias.Entry) error {
	n := len(targets(e))
	c.n++
	c.longest = max(c.longest, n)
	c.total += len(e.Name) + n
	return nil
}

// String is the line that newaliases prints, the original's.
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

// aliasText is an alias file that is being read.
type aliasText struct {
	path   string
	file   *os.File // nil: there is none, and so no alias
	source dbm.Source

	virtual bool // it is a virtual domain's
}

// openAliases opens the alias file of a configuration. One that the configuration asks
// for by name has to be there.
func openAliases(conf *config.Config) (*aliasText, error) {
	path := conf.Aliases
	source, err := dbm.SourceOf(path)
	if err == nil && source.Size < 0 {
		if err := alias.Missed(path, conf.Named("aliases")); err != nil {
			return nil, cmdline.ExitWith(sysexits.NoInput, err, "until it is there, mail for names of this machine waits")
		}
	}
	if err != nil {
		return nil, err
	}
	return openText(path, source)
}

// openText opens an alias file, which may not be there.
func openText(path string, source dbm.Source) (*aliasText, error) {
	if source.Size < 0 {
		return &aliasText{path: path, source: source}, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, cmdline.ExitWith(sysexits.NoInput, fmt.Errorf("%s: not a regular file", path)))
	}
	return &aliasText{path: path, file: f, source: source}, nil
}

// readers are those that may read the text, and so the database: the mode of a file
// of the same group.
func (a *aliasText) readers() (mode fs.FileMode, group *int) {
	if a.file == nil {
		return 0, nil
	}
	info, err := a.file.Stat()
	if err != nil {
		return 0o600, nil
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		gid := int(st.Gid)
		group = &gid
	}
	return 0o600 | info.Mode()&0o044, group
}

func (a *aliasText) close() {
	if a.file != nil {
		a.file.Close()
	}
}

// aliasPart is how much of an alias file is parsed at a time, in octets.
const aliasPart = 256 << 10

// each calls do with every alias, in order. It tells of each line that can't
// be understood and ends with an error if there was one, or if the file
// changed meanwhile. It holds a part of the file, whole aliases, in memory.
func (a *aliasText) each(env *cmdline.Env, do func(alias.Entry) error) error {
	if a.file == nil {
		return nil
	}
	var wrong []error
	var part bytes.Buffer
	line, first := 0, 0 // lines read; before the part
	parse := func() error {
		entries, errs := alias.Parse(&part)
		for _, err := range errs {
			wrong = append(wrong, a.at(first, err))
		}
		for _, e := range entries {
			e.Line += first
			if err := a.misplaced(e); err != nil {
				wrong = append(wrong, err)
			} else if err := do(e); err != nil {
				return err
			}
		}
		part.Reset()
		first = line
		return nil
	}
	in := bufio.NewReader(a.file)
	for {
		text, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s: %w", a.path, err)
		}
		if part.Len() > aliasPart && len(text) > 0 && !bytes.ContainsAny(text[:1], " \t\r\n#") {
			if err := parse(); err != nil { // this line begins an alias
				return err
			}
		}
		part.Write(text)
		line++
		if err == io.EOF {
			break
		}
	}
	if err := parse(); err != nil {
		return err
	}
	if n := len(wrong); n > 0 {
		for _, err := range wrong[:n-1] {
			env.Say(err.Error())
		}
		hint := "until this is mended, mail for these names waits"
		if _, err := os.Lstat(a.path + ".db"); err == nil {
			hint = "the old database stays in use"
		}
		return cmdline.ExitWith(sysexits.DataErr, wrong[n-1], hint)
	}
	now, err := dbm.SourceOf(a.path)
	if err == nil && !now.Equal(a.source) {
		err = cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("%s: changed while it was read", a.path), "run newaliases again")
	}
	return err
}

// misplaced says what of an alias of a virtual domain may not stand there.
func (a *aliasText) misplaced(e alias.Entry) error {
	for _, t := range e.Targets {
		if a.virtual && t.Kind != alias.Address && t.Kind != alias.Mailbox {
			return fmt.Errorf("%s:%d: alias %s: %s is %s, and an alias of a virtual domain names addresses alone: take it out", a.path, e.Line, e.Name, t, t.Kind)
		}
	}
	return nil
}

// at says where in the file an error is that was found behind so many lines.
func (a *aliasText) at(lines int, err error) error {
	se := (*alias.SyntaxError)(nil)
	if !errors.As(err, &se) {
		return fmt.Errorf("%s: %w", a.path, err)
	}
	if se.Name == "" {
		return fmt.Errorf("%s:%d: %w", a.path, lines+se.Line, se.Err)
	}
	return fmt.Errorf("%s:%d: alias %s: %w", a.path, lines+se.Line, se.Name, se.Err)
}
