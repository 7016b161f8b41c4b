package user

import (
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
