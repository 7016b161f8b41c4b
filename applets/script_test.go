package applets

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"postoffice/internal/testenv"
)

// TestMain lets the test binary be every applet and role by its name, so that
// the scripts run what users run.
func TestMain(m *testing.M) {
	os.Exit(testenv.Main(func() int { return runCommands(m) }, func(argv0 string) func() int {
		if _, ok := programs().Role(argv0); !ok {
			return nil
		}
		return func() int { return Main(os.Args) }
	}))
}

// runCommands is the program under each of its names, or the tests.
func runCommands(m *testing.M) int {
	main := func() { os.Exit(Main(os.Args)) }
	commands := map[string]func(){"postoffice": main}
	for _, a := range programs().Applets {
		if a.Name == configApplet.Name {
			continue // only as `postoffice config`
		}
		commands[a.Name] = main
		for _, other := range a.Others {
			commands[other] = main
		}
	}
	testscript.Main(m, commands)
	return 0
}

// TestScripts runs the command lines of testdata/script.
func TestScripts(t *testing.T) {
	testenv.NeedsRoot(t, "sets options that are root's")
	testscript.Run(t, testscript.Params{
		Dir:                 "../testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits is the script command `exits CODE PROGRAM ARGUMENT …`: it runs the
// program, whose output stdout and stderr then look at, and fails unless it
// ends with the code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENT ...")
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("exits: %v", err)
	}
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v: %v", args[1:], err)
	}
	if got != want {
		ts.Fatalf("%v: exit code %d, want %d", args[1:], got, want)
	}
}
