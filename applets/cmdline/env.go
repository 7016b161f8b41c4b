package cmdline

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"postoffice/applets/config"
)

// Env is what an applet gets from outside. Tests make their own.
type Env struct {
	Program string   // what messages begin with: "sendmail", "postoffice config"
	Args    []string // what follows the name; after Parse the operands
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Flags   *pflag.FlagSet // for the applet's own flags, to be defined before Parse

	applet  Applet
	given   []string // Args as they were before Parse
	file    Text     // -C
	sets    []string // -o
	version bool     // -V
	help    bool     // --help
	debug   string   // -d, where the applet doesn't define it
	config  *config.Config
	forRoot bool // see Lend
}

// Prepare makes a set of flags for an applet, which is called with args.
func (e *Env) Prepare(a Applet, args []string) {
	e.applet, e.Args, e.given = a, args, args
	e.Flags = pflag.NewFlagSet(e.Program, pflag.ContinueOnError)
	e.Flags.SetOutput(io.Discard)
	e.Flags.Usage = func() {}
	e.Flags.SortFlags = false
}

// common defines the flags of every applet behind its own, where help shows
// them.
func (e *Env) common() {
	e.Flags.VarP(&e.file, "config", "C", "`file` read file instead of "+config.DefaultFile)
	e.Flags.StringArrayVarP(&e.sets, "option", "o", nil, "`name=value` set an option of postoffice.cf(5)")
	e.Flags.BoolVarP(&e.version, "version", "V", false, "show the version")
	e.Flags.BoolVar(&e.help, "help", false, "show this help")
	if e.applet.Classic && e.Flags.ShorthandLookup("d") == nil {
		e.Flags.StringVarP(&e.debug, "debug", "d", "", "`0` show the version block")
		f := e.Flags.Lookup("debug")
		f.NoOptDefVal = "-"
		f.Hidden = true
	}
}

// Parse reads the flags that the applet has defined, then -C, -o, -V and
// --help, and leaves the operands in Args. The error is ready for Main: the
// applet returns it as it is, also where it is no fault but a --help that has
// been answered.
func (e *Env) Parse() error {
	e.common()
	argv, err := e.Normalise(e.Args)
	if err != nil {
		return err
	}
	if err := e.Flags.Parse(argv); err != nil && !errors.Is(err, pflag.ErrHelp) {
		return Usagef("%v", err)
	} else if err != nil {
		e.help = true
	}
	e.Args = e.Flags.Args()
	switch {
	case e.file.Given && e.file.Value == "":
		return Usagef("-C %q: want the name of a file", e.file.Value)
	case e.help:
		return e.printed(help(e))
	case e.version:
		return e.printed(versionLine(e.Program))
	case e.debug == "0" || strings.HasPrefix(e.debug, "0."):
		return e.printed(versionBlock())
	}
	return nil
}

// Normalise returns argv as pflag is to read it: each letter on its own, values
// as arguments of their own, without what the applet accepts and ignores. The
// error is one of usage, for a flag that the applet doesn't have.
func (e *Env) Normalise(argv []string) ([]string, error) {
	return normalise(argv, e.Flags, e.applet.Ignored, e.applet.Classic)
}

// printed writes the answer to a flag that is a question. Whoever reads the
// first line alone, as "sendmail -d0 | head -1", has what they want.
func (e *Env) printed(text string) error {
	if _, err := io.WriteString(e.Stdout, text); err != nil && !errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("write the answer: %w", err)
	}
	return ErrAnswered
}

// Config loads the configuration that -C and -o ask for, once. With an error
// the Config is still not nil and is good for finding a running server's
// socket, as config.Load says.
func (e *Env) Config() (*config.Config, error) {
	if e.config != nil {
		return e.config, nil
	}
	return e.ReloadConfig()
}

// ReloadConfig is Config that reads the file again. With an error the present
// configuration stays.
func (e *Env) ReloadConfig() (*config.Config, error) {
	c, err := config.Load(config.Options{File: e.file.Value, Sets: e.sets, UID: os.Getuid()})
	if err == nil {
		e.config = c
	}
	return c, err
}

// ConfigFlags are the -C and -o that were given, as arguments for another
// process that is to see the same configuration, wherever it runs.
func (e *Env) ConfigFlags() []string {
	var args []string
	if file, err := filepath.Abs(e.file.Value); e.file.Given && err == nil {
		args = append(args, "-C", file)
	}
	for _, set := range e.sets {
		args = append(args, "-o", set)
	}
	return args
}

// SetOption adds an option to those that -o sets: "name=value". It counts for a
// configuration that is loaded afterwards.
func (e *Env) SetOption(set string) { e.sets = append(e.sets, set) }

// Call is how the program was called: the name for its messages, the applet's
// name, and its arguments. Lend takes them in another process.
func (e *Env) Call() []string { return append([]string{e.Program, e.applet.Name}, e.given...) }

// With returns an Env that has more flags in front of its arguments, as for
// Call, and writes its output to another place.
func (e *Env) With(out io.Writer, flags ...string) *Env {
	other := *e
	other.Stdout, other.given = out, append(flags, e.given...)
	return &other
}

// Lend prepares a process that root started with the ids of somebody else to be
// one of the programs: Args are what Call returned there, conf is what root's
// process has loaded. The error is one of usage.
func (e *Env) Lend(programs Programs, conf *config.Config) (Applet, error) {
	if len(e.Args) < 2 {
		return Applet{}, Usagef("no applet")
	}
	a, ok := programs.named(e.Args[1])
	if !ok && e.Args[1] == programs.Plain.Name {
		a, ok = programs.Plain, true
	}
	if !ok {
		return a, Usagef("no applet %q", e.Args[1])
	}
	e.Program = e.Args[0]
	e.Prepare(a, e.Args[2:])
	e.config, e.forRoot = conf, true
	return a, nil
}

// UID is the user id of whoever asked: root's where this process does something
// for root with other ids (see Lend).
func (e *Env) UID() int {
	if e.forRoot {
		return 0
	}
	return os.Getuid()
}

// Say writes one line of a message on Stderr, behind the program's name.
func (e *Env) Say(text string) { Say(e.Stderr, e.Program, text) }
