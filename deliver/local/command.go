package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const shell = "/bin/sh"

// command is a program with its arguments, ready to be executed.
type command struct {
	path string
	args []string // the first is the program's name for itself
	text string   // what the shell is given if path is a script that says nothing of its interpreter; "" it isn't
}

// throughShell is the command that the shell makes of the text. The text comes
// from an alias file or a .forward alone, never from mail (A20).
func throughShell(text string) command {
	return command{path: shell, args: []string{"sh", "-c", text}}
}

// newCommand makes a command of the text of a program, without a shell where
// that gives the same.
func newCommand(text, programDir string) (command, error) {
	words, plain := plainWords(text)
	if programDir != "" {
		return allowed(words, plain, programDir)
	}
	if !plain {
		return throughShell(text), nil
	}
	path := words[0]
	if !strings.Contains(path, "/") {
		if path = lookup(path); path == "" { // a word of the shell's own, or nothing
			return throughShell(text), nil
		}
	}
	return command{path: path, args: words, text: text}, nil
}

// plainWords splits a command in which nothing but blanks means something to a
// shell, and an exec in front of it.
func plainWords(text string) (words []string, plain bool) {
	for i := range len(text) {
		if c := text[i]; !isAlnum(c) && strings.IndexByte("_./+,:@%=- \t", c) < 0 {
			return nil, false
		}
	}
	words = strings.Fields(text)
	if len(words) > 1 && words[0] == "exec" && words[1][0] != '-' {
		words = words[1:]
	}
	return words, len(words) > 0 && !strings.Contains(words[0], "=")
}

// lookup finds a program in programPath, "" if it isn't there.
func lookup(name string) string {
	for dir := range strings.SplitSeq(programPath, ":") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && unix.Access(path, unix.X_OK) == nil {
			return path
		}
	}
	return ""
}

// allowed is the command with the program of that name in dir, wherever it was
// said to be, as smrsh(8) has it.
func allowed(words []string, plain bool, dir string) (command, error) {
	if !plain {
		return command{}, fmt.Errorf("only programs in %s may run (option program-dir), and no shell: the command has something for a shell in it", dir)
	}
	name := filepath.Base(words[0])
	path := filepath.Join(dir, name)
	if info, err := os.Stat(path); name == "." || name == ".." || err != nil || !info.Mode().IsRegular() {
		return command{}, fmt.Errorf("%s is not in %s, and only what is there may run (option program-dir): link it there if it may", name, dir)
	}
	return command{path: path, args: words}, nil
}

// mailerCommand makes a command of option mailer: words between blanks, double
// quotes round what holds some, and ${name} for what is known of the message.
// Nothing that stands there for a ${name} makes a word of its own, an option
// or anything else than it is (A20).
func mailerCommand(template string, value func(name string) (text string, mail, ok bool)) (command, error) {
	words, err := templateWords(template)
	if err != nil {
		return command{}, err
	}
	for i, w := range words {
		if words[i], err = fillIn(w, value); err != nil {
			return command{}, err
		}
	}
	return command{path: words[0], args: words}, nil
}

// templateWords splits at blanks outside double quotes.
func templateWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, quoted := false, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			in, quoted = true, !quoted
		case (c == ' ' || c == '\t') && !quoted:
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		default:
			in = true
			word.WriteByte(c)
		}
	}
	if in {
		words = append(words, word.String())
	}
	switch {
	case quoted:
		return nil, errors.New("option mailer: a quote that does not end")
	case len(words) == 0 || !filepath.IsAbs(words[0]):
		return nil, errors.New("option mailer: want the absolute path of a program first")
	}
	return words, nil
}

// fillIn puts the values into one word. One that begins with what came from
// mail never begins with "-".
func fillIn(word string, value func(name string) (text string, mail, ok bool)) (string, error) {
	var b strings.Builder
	foreign := false // the first octets are mail's
	for {
		before, rest, found := strings.Cut(word, "${")
		b.WriteString(before)
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		text, mail, ok := value(name)
		if !closed || !ok {
			return "", fmt.Errorf("option mailer: ${%s: want ${user}, ${home}, ${sender}, ${recipient} or ${extension}", rest)
		}
		if mail {
			foreign = foreign || b.Len() == 0
			text = harmless(text)
		}
		b.WriteString(text)
		word = after
	}
	filled := b.String()
	if foreign && strings.HasPrefix(filled, "-") {
		filled = "_" + filled[1:]
	}
	return filled, nil
}
