package cmdline

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Applet is one of the programs in the binary.
type Applet struct {
	Name    string   // what it is called by, and its place in `postoffice APPLET`
	Others  []string // other names that mean the same
	Usage   string   // the synopsis behind the name and the flags that all have
	Short   string   // what it does, in a few words
	Ignored string   // flags accepted in silence, as for getopt(3): see argv.go
	Classic bool     // sendmail's command line: the first operand ends the flags; -d0 shows the version block; no signal of a broken pipe ends it
	Run     func(ctx context.Context, env *Env) error
}

// Role is a process of the server, known by the whole of argv[0], or by how it
// begins if Argv0 ends in a blank.
type Role struct {
	Argv0 string
	Run   func(ctx context.Context, env *Env) error
}

// Programs are all that one binary can be.
type Programs struct {
	Applets []Applet // in the order in which help shows them
	Plain   Applet   // what the binary is under its own name, and any that is no applet's, where a flag comes first
	Roles   []Role
}

// Role finds the role of a process with this argv[0].
func (p Programs) Role(argv0 string) (Role, bool) {
	for _, r := range p.Roles {
		if argv0 == r.Argv0 || strings.HasSuffix(r.Argv0, " ") && strings.HasPrefix(argv0, r.Argv0) {
			return r, true
		}
	}
	return Role{}, false
}

// Run does what argv asks for, with the streams of env, and returns the exit
// code: a role or an applet by argv[0], or an applet by argv[1].
func (p Programs) Run(ctx context.Context, env *Env, argv []string) int {
	if len(argv) == 0 {
		argv = []string{"postoffice"}
	}
	if r, ok := p.Role(argv[0]); ok {
		env.Program, env.Args = argv[0], argv[1:]
		return env.Finish(r.Run(ctx, env))
	}
	name, args := filepath.Base(argv[0]), argv[1:]
	env.Program = name
	a, ok := p.named(name)
	if !ok && len(args) > 0 {
		if a, ok = p.named(args[0]); ok {
			env.Program, args = "postoffice "+a.Name, args[1:]
		}
	}
	if !ok && p.plain(args) {
		a, ok = p.Plain, true
	}
	if !ok {
		return p.top(env, args)
	}
	if a.Classic {
		steadfast()
	}
	env.Prepare(a, args)
	return env.Finish(a.Run(ctx, env))
}

// plain reports whether arguments begin with a flag that is for Plain: top answers
// --help and questions for the version.
func (p Programs) plain(args []string) bool {
	if p.Plain.Run == nil || len(args) == 0 || len(args[0]) < 2 || args[0][0] != '-' {
		return false
	}
	return !slices.Contains(topFlags(), args[0])
}

// named finds an applet without regard to case.
func (p Programs) named(name string) (Applet, bool) {
	for _, a := range p.Applets {
		if strings.EqualFold(a.Name, name) || slices.ContainsFunc(a.Others, func(o string) bool { return strings.EqualFold(o, name) }) {
			return a, true
		}
	}
	return Applet{}, false
}

// steadfast lets writes to a closed pipe or beyond the limit on a file's size
// fail with an error instead of ending the process in the middle of its work.
// Children still get the signals' defaults.
func steadfast() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGXFSZ)
}
