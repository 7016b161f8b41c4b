package applets

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"postoffice/applets/cmdline"
)

var updateCompletions = flag.Bool("update-completions", false, "write packaging/completions")

const completionsDir = "../packaging/completions/"

// programNames are the names beside postoffice that are installed as programs.
var programNames = []string{"sendmail", "mailq", "runq", "smtpd", "newaliases", "authexpire"}

// completed is what a shell may complete of one applet.
type completed struct {
	name, short string
	flags       []*pflag.Flag
	verbs       []string // the first operand, where it is one of some words
}

// values are the flags that are followed by a value of their own.
func (c completed) values() (all []string) {
	for _, f := range c.flags {
		if f.Name != "config" && f.Name != "option" && f.NoOptDefVal == "" {
			all = append(all, written(f)...)
		}
	}
	return all
}

// written is how a flag is given: "--name", and "-n" where it has a letter.
func written(f *pflag.Flag) []string {
	if f.Shorthand == "" {
		return []string{"--" + f.Name}
	}
	return []string{"-" + f.Shorthand, "--" + f.Name}
}

// completions asks each applet for its flags, as --help does.
func completions(t *testing.T) (all []completed) {
	t.Helper()
	operand := regexp.MustCompile(`^[a-z]+(\|[a-z]+)*$`)
	for _, a := range programs().Applets {
		env := &cmdline.Env{Program: a.Name, Stdout: new(strings.Builder), Stderr: new(strings.Builder)}
		env.Prepare(a, []string{"--help"})
		if err := a.Run(context.Background(), env); err != cmdline.ErrAnswered {
			t.Fatalf("%s --help: %v", a.Name, err)
		}
		c := completed{name: a.Name, short: a.Short}
		env.Flags.VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				c.flags = append(c.flags, f)
			}
		})
		first := strings.Fields(regexp.MustCompile(`\[[^]]*\]`).ReplaceAllString(a.Usage, ""))
		if len(first) > 0 && operand.MatchString(first[0]) {
			c.verbs = strings.Split(first[0], "|")
		}
		all = append(all, c)
	}
	return all
}

// optionNames are all options of postoffice.cf(5).
func optionNames(t *testing.T) (names []string) {
	t.Helper()
	var out strings.Builder
	env := &cmdline.Env{Program: "config", Stdout: &out, Stderr: new(strings.Builder)}
	env.Prepare(configApplet, []string{"-C", os.DevNull})
	if err := configApplet.Run(context.Background(), env); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if name, _, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

// says is what a flag does, without the name of its value.
func says(f *pflag.Flag) string {
	text := f.Usage
	if rest, ok := strings.CutPrefix(text, "`"); ok {
		_, text, _ = strings.Cut(rest, "` ")
	}
	return strings.NewReplacer("'", "’", "\\", "", "[", "(", "]", ")", ":", ",").Replace(text)
}

const completionsHead = "# Made from the programs' own tables by make man; changes belong there.\n"

func bashCompletions(all []completed, options []string) string {
	var b strings.Builder
	b.WriteString("# bash completion for postoffice -*- shell-script -*-\n" + completionsHead + `
_postoffice() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} applet=${COMP_WORDS[0]##*/}
	local first=1 flags= verbs= values= options=
`)
	names := []string{"--help", "--version"}
	for _, c := range all {
		names = append(names, c.name)
	}
	fmt.Fprintf(&b, "\toptions='%s'\n", strings.Join(options, "= ")+"=")
	fmt.Fprintf(&b, `	COMPREPLY=()
	if [[ $applet == postoffice ]]; then
		if ((COMP_CWORD == 1)); then
			COMPREPLY=($(compgen -W '%s' -- "$cur"))
			return
		fi
		applet=${COMP_WORDS[1]} first=2
	fi
	case $applet in
`, strings.Join(names, " "))
	for _, c := range all {
		var flags []string
		for _, f := range c.flags {
			flags = append(flags, written(f)...)
		}
		fmt.Fprintf(&b, "\t%s)\n\t\tflags='%s'\n", c.name, strings.Join(flags, " "))
		if len(c.verbs) > 0 {
			fmt.Fprintf(&b, "\t\tverbs='%s'\n", strings.Join(c.verbs, " "))
		}
		if v := c.values(); len(v) > 0 {
			fmt.Fprintf(&b, "\t\tvalues='%s'\n", strings.Join(v, " "))
		}
		if c.name == "config" {
			b.WriteString("\t\tverbs=${options//=/}\n\t\tfirst=$COMP_CWORD\n")
		}
		b.WriteString("\t\t;;\n")
	}
	b.WriteString(`	*) return ;;
	esac
	case $prev in
	-C | --config)
		COMPREPLY=($(compgen -f -- "$cur"))
		return
		;;
	-o | --option)
		compopt -o nospace 2>/dev/null
		COMPREPLY=($(compgen -W "$options" -- "$cur"))
		return
		;;
	esac
	[[ " $values " == *" $prev "* ]] && return
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$flags" -- "$cur"))
	elif ((COMP_CWORD == first)); then
		COMPREPLY=($(compgen -W "$verbs" -- "$cur"))
	fi
}
`)
	fmt.Fprintf(&b, "complete -o default -F _postoffice postoffice %s\n", strings.Join(programNames, " "))
	return b.String()
}

func zshCompletions(all []completed, options []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#compdef postoffice %s\n%s\n", strings.Join(programNames, " "), completionsHead)
	fmt.Fprintf(&b, "_postoffice_options() { compadd -S = -- %s }\n\n", strings.Join(options, " "))
	b.WriteString(`_postoffice() {
	local applet=${service:t}
	if [[ $applet == postoffice ]]; then
		if ((CURRENT == 2)); then
			local -a applets=(
`)
	for _, c := range all {
		fmt.Fprintf(&b, "\t\t\t\t'%s:%s'\n", c.name, says(&pflag.Flag{Usage: c.short}))
	}
	b.WriteString(`			)
			_describe applet applets
			return
		fi
		shift words
		((CURRENT--))
		applet=$words[1]
	fi
	case $applet in
`)
	for _, c := range all {
		fmt.Fprintf(&b, "\t%s)\n\t\t_arguments -s", c.name)
		for _, f := range c.flags {
			value := ""
			switch {
			case f.Name == "config":
				value = ":file:_files"
			case f.Name == "option":
				value = ":option:_postoffice_options"
			case f.NoOptDefVal == "":
				value = ":value:"
			}
			for _, w := range written(f) {
				fmt.Fprintf(&b, " \\\n\t\t\t'%s[%s]%s'", w, says(f), value)
			}
		}
		switch {
		case c.name == "config":
			fmt.Fprintf(&b, " \\\n\t\t\t'*:option:(%s)'", strings.Join(options, " "))
		case len(c.verbs) > 0:
			fmt.Fprintf(&b, " \\\n\t\t\t'1:command:(%s)'", strings.Join(c.verbs, " "))
		}
		b.WriteString("\n\t\t;;\n")
	}
	b.WriteString("\tesac\n}\n\n_postoffice \"$@\"\n")
	return b.String()
}

func fishCompletions(all []completed, options []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nfunction __postoffice_options\n\tprintf '%%s\\n' %s\nend\n\n", completionsHead, strings.Join(options, " "))
	for _, c := range all {
		fmt.Fprintf(&b, "complete -c postoffice -f -n __fish_use_subcommand -a %s -d '%s'\n", c.name, says(&pflag.Flag{Usage: c.short}))
	}
	for _, c := range all {
		fishApplet(&b, c, "-c postoffice -n '__fish_seen_subcommand_from "+c.name+"'")
		if slices.Contains(programNames, c.name) {
			fishApplet(&b, c, "-c "+c.name)
		}
	}
	return b.String()
}

// fishApplet writes the flags and words of one applet, for commands that where picks.
func fishApplet(b *strings.Builder, c completed, where string) {
	for _, f := range c.flags {
		how := ""
		if f.Shorthand != "" {
			how = " -s " + f.Shorthand
		}
		switch {
		case f.Name == "config":
			how += " -r"
		case f.Name == "option":
			how += " -x -a '(__postoffice_options)='"
		case f.NoOptDefVal == "":
			how += " -x"
		}
		fmt.Fprintf(b, "complete %s -l %s%s -d '%s'\n", where, f.Name, how, says(f))
	}
	switch {
	case c.name == "config":
		fmt.Fprintf(b, "complete %s -f -a '(__postoffice_options)'\n", where)
	case len(c.verbs) > 0:
		fmt.Fprintf(b, "complete %s -f -a '%s'\n", where, strings.Join(c.verbs, " "))
	}
}

// TestCompletions holds what shells complete to what the programs take.
func TestCompletions(t *testing.T) {
	all, options := completions(t), optionNames(t)
	for name, want := range map[string]string{
		"postoffice.bash": bashCompletions(all, options),
		"_postoffice":     zshCompletions(all, options),
		"postoffice.fish": fishCompletions(all, options),
	} {
		if *updateCompletions {
			if err := os.WriteFile(completionsDir+name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(completionsDir + name)
		if diff := cmp.Diff(string(have), want); err != nil || diff != "" {
			t.Errorf("packaging/completions/%s is old, make man renews it: %v (-have +want):\n%s", name, err, diff)
		}
	}
}

// TestCompletionsInBash asks a real bash what it would offer.
func TestCompletionsInBash(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"postoffice que", "queue"},
		{"postoffice --ver", "--version"},
		{"postoffice queue re", "release retry remove"},
		{"postoffice queue --dry", "--dry-run"},
		{"postoffice smtpd -o relay-p", "relay-passwords= relay-password-command="},
		{"postoffice config local-d", "local-domains"},
		{"postoffice config queue-dir local-d", "local-domains"},
		{"postoffice milter ", "test"},
		{"/usr/bin/mailq --js", "--json"},
		{"postoffice mailq -C ../packaging/completions/postoffice.b", "../packaging/completions/postoffice.bash"},
		{"postoffice nothing ", ""},
	} {
		words := strings.Split(tt.line, " ")
		script := `. "$1"; shift
			complete -p postoffice mailq >/dev/null || exit
			COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
			_postoffice
			echo "${COMPREPLY[*]}"`
		cmd := exec.Command("bash", append([]string{"--norc", "-c", script, "bash", completionsDir + "postoffice.bash"}, words...)...)
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
			t.Errorf("%q offers %q, %v, want %q", tt.line, got, err, tt.want)
		}
	}
}
