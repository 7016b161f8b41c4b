package applets

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postoffice/internal/privsep"
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

// role is a process of the server, known by the whole of argv[0], or by how it
// begins if that ends in a blank.
type role struct {
	argv0 string
	run   func(ctx context.Context, env *Env) error
}

// applets lists the programs, in the order in which help shows them, and
// roles what the server starts from /proc/self/exe. Nobody else calls the
// roles: one without the descriptors that it inherits ends at once.
func applets() []Applet {
	return []Applet{smtpdApplet, sendmail, mailq, runq, queueApplet, routeApplet, newaliases, dbmApplet, configApplet}
}

func roles() []role {
	return []role{
		{privsep.ServerRole, runServerRole},
		{privsep.MasterRole, runMasterRole},
		{privsep.UserRole, runUserRole},
		{ownerRole, runAsOwner},
	}
}

// is says that a process with this argv[0] has the role.
func (r role) is(argv0 string) bool {
	return argv0 == r.argv0 || strings.HasSuffix(r.argv0, " ") && strings.HasPrefix(argv0, r.argv0)
}

// Main runs what argv asks for and returns its exit code.
func Main(argv []string) int {
	env := &Env{Program: "postoffice", Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if err := guard(); err != nil {
		return env.end(err)
	}
	return run(context.Background(), env, argv)
}

// run is Main with streams of the caller's choice.
func run(ctx context.Context, env *Env, argv []string) int {
	if len(argv) == 0 {
		argv = []string{"postoffice"}
	}
	for _, r := range roles() {
		if r.is(argv[0]) {
			env.Program, env.Args = argv[0], argv[1:]
			return env.end(r.run(ctx, env))
		}
	}
	name, args := filepath.Base(argv[0]), argv[1:]
	env.Program = name
	a, ok := named(name)
	if !ok && len(args) > 0 {
		if a, ok = named(args[0]); ok {
			env.Program, args = "postoffice "+a.Name, args[1:]
		}
	}
	if !ok {
		return top(env, args)
	}
	if a.Classic {
		steadfast()
	}
	env.prepare(a, args)
	return env.end(a.Run(ctx, env))
}

// named finds an applet without regard to case.
func named(name string) (Applet, bool) {
	for _, a := range applets() {
		if strings.EqualFold(a.Name, name) || slices.ContainsFunc(a.Others, func(o string) bool { return strings.EqualFold(o, name) }) {
			return a, true
		}
	}
	return Applet{}, false
}
