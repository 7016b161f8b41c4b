package applets

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"postoffice/internal/config"
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
	file    string   // -C
	sets    []string // -o
	version bool     // -V
	help    bool     // --help
	debug   string   // -d, where the applet doesn't define it
	config  *config.Config
	forRoot bool // root asked, and this process does it with other ids
}

// prepare makes the flags that every applet has.
func (e *Env) prepare(a Applet, args []string) {
	e.applet, e.Args, e.given = a, args, args
	e.Flags = pflag.NewFlagSet(e.Program, pflag.ContinueOnError)
	e.Flags.SetOutput(io.Discard)
	e.Flags.Usage = func() {}
	e.Flags.SortFlags = false
}

// common defines the flags of every applet behind its own, where help shows
// them.
func (e *Env) common() {
	e.Flags.StringVarP(&e.file, "config", "C", "", "read `FILE` instead of "+config.DefaultFile)
	e.Flags.StringArrayVarP(&e.sets, "option", "o", nil, "set an option: `NAME=VALUE`, as postoffice.cf(5)")
	e.Flags.BoolVarP(&e.version, "version", "V", false, "show the version")
	e.Flags.BoolVar(&e.help, "help", false, "show this help")
	if e.applet.Classic && e.Flags.ShorthandLookup("d") == nil {
		e.Flags.StringVarP(&e.debug, "debug", "d", "", "with `0` or 0.1 show the version block")
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
	argv, err := normalise(e.Args, e.Flags, e.applet.Ignored, e.applet.Classic)
	if err != nil {
		return err
	}
	if err := e.Flags.Parse(argv); err != nil && !errors.Is(err, pflag.ErrHelp) {
		return usageErrorf("%v", err)
	} else if err != nil {
		e.help = true
	}
	e.Args = e.Flags.Args()
	switch {
	case e.help:
		return e.printed(help(e))
	case e.version:
		return e.printed(versionLine(e.Program))
	case e.debug == "0" || strings.HasPrefix(e.debug, "0."):
		return e.printed(versionBlock())
	}
	return nil
}

// printed writes the answer to a flag that is a question. Whoever reads the
// first line alone, as "sendmail -d0 | head -1", has what he wants.
func (e *Env) printed(text string) error {
	if _, err := io.WriteString(e.Stdout, text); err != nil && !errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("write the answer: %w", err)
	}
	return errAnswered
}

// Config loads the configuration that -C and -o ask for, once. With an error
// the Config is still not nil and is good for finding a running server's
// socket, as config.Load says.
func (e *Env) Config() (*config.Config, error) {
	if e.config != nil {
		return e.config, nil
	}
	return e.reloadConfig()
}

// reloadConfig is Config that reads the file again. With an error the present
// configuration stays.
func (e *Env) reloadConfig() (*config.Config, error) {
	c, err := config.Load(config.Options{File: e.file, Sets: e.sets, UID: os.Getuid()})
	if err == nil {
		e.config = c
	}
	return c, err
}

// ConfigFlags are the -C and -o that were given, as arguments for another
// process that is to see the same configuration, wherever it runs.
func (e *Env) ConfigFlags() []string {
	var args []string
	if file, err := filepath.Abs(e.file); e.file != "" && err == nil {
		args = append(args, "-C", file)
	}
	for _, set := range e.sets {
		args = append(args, "-o", set)
	}
	return args
}
