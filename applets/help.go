package applets

import (
	"fmt"
	"strings"

	"postoffice/internal/sysexits"
)

// synopsis is what follows the program's name.
func synopsis(a Applet) string {
	return strings.TrimSpace("[-C file] [-o name=value] " + a.Usage)
}

// help is the answer to --help: synopsis, what it does, and its flags.
func help(e *Env) string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s %s\n\n%s\n", e.Program, synopsis(e.applet), e.applet.Short)
	fmt.Fprintf(&b, "\nflags:\n%s", e.Flags.FlagUsagesWrapped(80))
	return b.String()
}

// list names the applets.
func list() string {
	var b strings.Builder
	b.WriteString("usage: postoffice APPLET [flags] [argument ...]\n\napplets:\n")
	for _, a := range applets() {
		fmt.Fprintf(&b, "  %-10s %s\n", a.Name, a.Short)
	}
	b.WriteString("\npostoffice APPLET --help shows an applet's flags; an applet can also be called by its own name.\n")
	return b.String()
}

// top answers for the binary where no applet is named: --help and -V on
// stdout; anything else lists the applets on stderr.
func top(e *Env, args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "--help":
			return e.end(e.printed(list()))
		case "--version", "-V":
			return e.end(e.printed(versionLine("postoffice")))
		}
		say(e.Stderr, e.Program, fmt.Sprintf("no applet %q", args[0]))
	}
	fmt.Fprint(e.Stderr, list())
	return sysexits.Usage
}
