package databases

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/applets/sysexits"
	"postoffice/internal/dbm"
	"postoffice/internal/dbm/store"
	"postoffice/internal/smtp"
)

// DBM is the program.
var DBM = cmdline.Applet{
	Name:    "dbm",
	Usage:   "[-v] [-d database] clear|create|delete|dump|fetch|insert|load|mend|update [argument ...]",
	Short:   "read and change a database file, or what the server keeps",
	Classic: true, // a value may begin with -
	Run:     runDBM,
}

// Exit codes of dbm, which are the original's where it had some.
const (
	dbmSome = 1 // fetch and delete: some keys are missing; insert: the key exists; no command
	dbmNone = 2 // fetch and delete: all keys are missing; the database can't be opened
)

// dbmVerb is one command of dbm.
type dbmVerb struct {
	name, args string // args as shown by the usage
	least      int    // operands
	most       int    // -1: any number
	do         func(d *dbmRun, args []string) error
}

func dbmVerbs() []dbmVerb {
	return []dbmVerb{
		{"clear", "[database]", 0, 0, (*dbmRun).clear},
		{"create", "[database]", 0, 0, (*dbmRun).create},
		{"delete", "key ...", 1, -1, (*dbmRun).delete},
		{"dump", "[database]", 0, 0, (*dbmRun).dump},
		{"fetch", "key ...", 1, -1, (*dbmRun).fetch},
		{"insert", "key value", 2, 2, (*dbmRun).insert},
		{"load", "[database]", 0, 0, (*dbmRun).load},
		{"mend", "[database]", 0, 0, (*dbmRun).mend},
		{"update", "key value", 2, 2, (*dbmRun).update},
	}
}

// dbmRun is one call of dbm.
type dbmRun struct {
	ctx     context.Context
	env     *cmdline.Env
	path    string
	verbose bool
}

func runDBM(ctx context.Context, env *cmdline.Env) error {
	d := &dbmRun{ctx: ctx, env: env}
	env.Flags.StringVarP(&d.path, "database", "d", "", "`database` the database file, to which .db is added, or the directory of a store")
	env.Flags.BoolVarP(&d.verbose, "verbose", "v", false, "say what was done; show what stands behind a NUL in a value")
	if err := env.Parse(); err != nil {
		return err
	}
	if len(env.Args) == 0 {
		return cmdline.ExitWith(dbmSome, errors.New("no command"), dbmHints("")...)
	}
	name, args := env.Args[0], env.Args[1:]
	for _, v := range dbmVerbs() {
		if !smtp.EqualFold(v.name, name) {
			continue
		}
		if v.most == 0 && len(args) == 1 {
			d.path, args = args[0], nil
		}
		switch {
		case len(args) < v.least || v.most >= 0 && len(args) > v.most:
			return cmdline.ExitWith(dbmSome, fmt.Errorf("%s: wrong number of arguments", v.name), dbmHints(v.name)...)
		case d.path == "":
			return cmdline.ExitWith(dbmSome, errors.New("no database is named"), "dbm -d database "+v.name+" "+v.args)
		}
		if dir, part, ok := storeAt(d.path); ok {
			return d.checked(d.atStore(dir, part, v.name, args))
		}
		if !strings.HasSuffix(d.path, ".db") {
			d.path += ".db"
		}
		return d.checked(v.do(d, args))
	}
	return cmdline.ExitWith(dbmSome, fmt.Errorf("no command %q", name), dbmHints("")...)
}

// dbmHints shows the commands, or one of them.
func dbmHints(name string) []string {
	var lines []string
	for _, v := range dbmVerbs() {
		if name == "" || name == v.name {
			lines = append(lines, "dbm -d database "+v.name+" "+v.args)
		}
	}
	return lines
}

// checked gives an error its exit code: what keeps the database from being
// opened or written is 2, but for what may pass by itself.
func (d *dbmRun) checked(err error) error {
	server := (*control.Error)(nil)
	switch own := (*cmdline.ExitError)(nil); {
	case err == nil || errors.As(err, &own):
		return err
	case errors.As(err, &server):
		return cmdline.ExitWith(server.Code, errors.New(server.Text))
	case errors.Is(err, store.ErrDamaged), errors.Is(err, store.ErrFull):
		return cmdline.ExitWith(dbmNone, err)
	case errors.Is(err, store.ErrLocked):
		return cmdline.ExitWith(sysexits.TempFail, err, "that is mostly the mail server, which can't be asked now, or not for this with mend: try again, or stop it first")
	case errors.Is(err, store.ErrLite):
		return cmdline.ExitWith(sysexits.Unavailable, err)
	case errors.Is(err, dbm.ErrLite):
		return cmdline.ExitWith(sysexits.Unavailable, err, "install the full postoffice")
	case errors.Is(err, dbm.ErrForeign):
		return cmdline.ExitWith(dbmNone, err, "the program that made it can read it; load makes a new one from its records")
	case errors.Is(err, dbm.ErrDamaged):
		return cmdline.ExitWith(dbmNone, err, "newaliases makes the database of an alias file anew; load makes another one of its records")
	case errors.Is(err, fs.ErrNotExist):
		return cmdline.ExitWith(dbmNone, err, "create makes an empty one, load one of records")
	case errors.Is(err, dbm.ErrBusy):
		return cmdline.ExitWith(sysexits.TempFail, err)
	}
	return cmdline.ExitWith(dbmNone, err)
}

// done says what was done, with -v.
func (d *dbmRun) done(n int, what string) {
	if !d.verbose {
		return
	}
	records := "records"
	if n == 1 {
		records = "record"
	}
	d.env.Say(fmt.Sprintf("%s: %d %s %s", d.path, n, records, what))
}

// build makes a database of what fill adds and puts it in the place of the
// present one.
func (d *dbmRun) build(o dbm.Options, fill func(*dbm.Build) error) error {
	o.Mode = 0o600
	b, err := dbm.Create(d.path, o)
	if err != nil {
		return err
	}
	defer b.Abort()
	if err := fill(b); err != nil {
		return err
	}
	return b.Commit()
}

func noRecords(*dbm.Build) error { return nil }

func (d *dbmRun) clear([]string) error { return d.build(dbm.Options{Keep: true}, noRecords) }

func (d *dbmRun) create([]string) error {
	err := d.build(dbm.Options{New: true}, noRecords)
	if errors.Is(err, fs.ErrExist) {
		return cmdline.ExitWith(dbmNone, fmt.Errorf("%s exists already", d.path), "clear empties it")
	}
	return err
}

// mend: a file is made anew as a whole.
func (d *dbmRun) mend([]string) error {
	return cmdline.ExitWith(dbmNone, fmt.Errorf("%s is no store of the server's", d.path), "newaliases makes the database of an alias file anew; load makes another one of its records")
}

// load reads lines "key TAB value"; the last one with a key counts.
func (d *dbmRun) load([]string) error {
	n := 0
	err := d.build(dbm.Options{Keep: true, KeepLast: true}, func(b *dbm.Build) (err error) {
		n, err = d.lines(b.Add)
		return err
	})
	if err == nil {
		d.done(n, "loaded")
	}
	return err
}

// lines calls add with the records of standard input, and returns how many there were.
func (d *dbmRun) lines(add func(key, value []byte) error) (n int, err error) {
	in := bufio.NewReader(d.env.Stdin)
	for line := 1; ; line++ {
		text, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return n, fmt.Errorf("standard input: %w", err)
		}
		ended := err == io.EOF
		text = bytes.TrimSuffix(text, []byte("\n"))
		if len(text) > 0 && text[0] != '#' {
			key, value, ok := bytes.Cut(text, []byte("\t"))
			if !ok {
				return n, cmdline.ExitWith(sysexits.DataErr, fmt.Errorf("standard input:%d: no tab behind the key", line))
			}
			if err := add(key, bytes.TrimLeft(value, " \t")); err != nil {
				return n, cmdline.ExitWith(sysexits.DataErr, fmt.Errorf("standard input:%d: %w", line, err))
			}
			n++
		}
		if ended {
			return n, nil
		}
	}
}

// text is a value as it is shown.
func (d *dbmRun) text(value []byte) []byte {
	if before, behind, ok := bytes.Cut(value, []byte{0}); ok {
		value = before
		if d.verbose {
			value = fmt.Appendf(nil, "%s\t%q", before, behind)
		}
	}
	return value
}

func (d *dbmRun) dump([]string) error {
	db, err := dbm.Open(d.path, dbm.Options{})
	if err != nil {
		return err
	}
	defer db.Close()
	out := bufio.NewWriter(d.env.Stdout)
	for r, err := range db.All() {
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		fmt.Fprintf(out, "%s\t%s\n", r.Key, d.text(r.Value))
	}
	return out.Flush()
}

func (d *dbmRun) fetch(keys []string) error {
	db, err := dbm.Open(d.path, dbm.Options{})
	if err != nil {
		return err
	}
	defer db.Close()
	return d.each(keys, func(key string) error {
		value, err := db.Fetch([]byte(key))
		if err == nil {
			_, err = fmt.Fprintf(d.env.Stdout, "%s\n", d.text(value))
		}
		return err
	})
}

// each does something to all keys and says which are missing.
func (d *dbmRun) each(keys []string, do func(key string) error) error {
	missing := 0
	for _, key := range keys {
		err := do(key)
		if errors.Is(err, dbm.ErrNotFound) {
			missing++
			d.env.Say(fmt.Sprintf("%s: no such key in %s", key, d.path))
		} else if err != nil {
			return err
		}
	}
	switch missing {
	case 0:
		return nil
	case len(keys):
		return cmdline.ExitWith(dbmNone, errors.New("no key was found"))
	}
	return cmdline.ExitWith(dbmSome, fmt.Errorf("%d of %d keys were not found", missing, len(keys)))
}

// change opens the database for writing, and writes it unless do fails.
func (d *dbmRun) change(do func(*dbm.Edit) error) error {
	db, err := dbm.Change(d.path, dbm.Options{})
	if err != nil {
		return err
	}
	defer db.Abort()
	if err := do(db); err != nil {
		return err
	}
	return db.Close()
}

func (d *dbmRun) delete(keys []string) error {
	var missing error
	n := 0
	err := d.change(func(db *dbm.Edit) error {
		missing = d.each(keys, func(key string) error {
			err := db.Delete([]byte(key))
			if err == nil {
				n++
			}
			return err
		})
		if exit := (*cmdline.ExitError)(nil); missing != nil && !errors.As(missing, &exit) {
			return missing
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.done(n, "deleted")
	return missing
}

func (d *dbmRun) insert(args []string) error {
	err := d.store(args, dbm.Insert, "inserted")
	if errors.Is(err, dbm.ErrExists) {
		return cmdline.ExitWith(dbmSome, fmt.Errorf("%s exists already in %s", args[0], d.path), "update puts a new value in the old one's place")
	}
	return err
}

func (d *dbmRun) update(args []string) error { return d.store(args, dbm.Replace, "stored") }

func (d *dbmRun) store(args []string, how dbm.How, what string) error {
	err := d.change(func(db *dbm.Edit) error { return db.Store([]byte(args[0]), []byte(args[1]), how) })
	if err == nil {
		d.done(1, what)
	}
	return err
}
