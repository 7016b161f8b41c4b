package cmdline

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"postoffice/applets/sysexits"
)

// synopsis is what follows the program's name.
func synopsis(a Applet) string {
	return strings.TrimSpace("[-C file] [-o name=value] " + a.Usage)
}

// help is the answer to --help: synopsis, what it does, and its flags.
func help(e *Env) string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s %s\n\n%s\n", e.Program, synopsis(e.applet), e.applet.Short)
	b.WriteString("\nflags:\n")
	e.Flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			b.WriteString(flagLines(f))
		}
	})
	return b.String()
}

const (
	helpIndent = 28 // columns before what a flag does
	helpWidth  = 80
)

// flagLines are a flag and what it does, as a manual page writes it: "-f, --sender
// sender", or "-q[time], --queue[=time]" where the value may be left out. The name
// of the value stands in backquotes before the usage.
func flagLines(f *pflag.Flag) string {
	name, text := "", f.Usage
	if rest, ok := strings.CutPrefix(text, "`"); ok {
		name, text, _ = strings.Cut(rest, "` ")
	}
	short, long := "", "--"+f.Name
	if f.Shorthand != "" {
		short = "-" + f.Shorthand
	}
	switch {
	case name != "" && f.NoOptDefVal != "":
		short, long = short+"["+name+"]", long+"[="+name+"]"
	case name != "":
		long += " " + name
	}
	if short != "" {
		long = short + ", " + long
	} else {
		long = "    " + long
	}
	var b strings.Builder
	line := "  " + long
	if len(line) > helpIndent-2 {
		b.WriteString(line + "\n")
		line = ""
	}
	line = fmt.Sprintf("%-*s", helpIndent-1, line)
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) >= helpWidth {
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", helpIndent-1)
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}

// list names the applets.
func (p Programs) list() string {
	var b strings.Builder
	b.WriteString("usage: postoffice APPLET [flags] [argument ...]\n\napplets:\n")
	for _, a := range p.Applets {
		fmt.Fprintf(&b, "  %-11s %s\n", a.Name, a.Short)
	}
	b.WriteString("\npostoffice APPLET --help shows an applet's flags; an applet can also be called by its own name.\n")
	return b.String()
}

// topFlags are those that top answers.
func topFlags() []string { return []string{"--help", "--version", "-V"} }

// top answers for the binary where no applet is named: --help and -V on
// stdout; anything else lists the applets on stderr.
func (p Programs) top(e *Env, args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "--help":
			return e.Finish(e.printed(p.list()))
		case "--version", "-V":
			return e.Finish(e.printed(versionLine("postoffice")))
		}
		e.Say(fmt.Sprintf("no applet %q", args[0]))
	}
	fmt.Fprint(e.Stderr, p.list())
	return sysexits.Usage
}
