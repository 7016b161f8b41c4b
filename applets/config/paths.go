package config

import (
	"slices"
	"strings"
)

// A PathKind is what an option names of the machine, and so what is to be looked at before
// mail is trusted to it. Certificates and the files that judge clients are looked at by
// those who read them.
type PathKind uint8

// The kinds.
const (
	NoPath       PathKind = iota
	QueueDir              // the spool: made, in a directory that is there
	RunDir                // made, in a directory that is there, for everybody to reach
	StateDir              // made with what is missing above it
	MailDir               // must be there, and its users must be able to make files
	AliasFile             // must be there if it is named
	MailboxPlace          // of each user, or lmtp: and a socket that must be there
	Command               // a program with its arguments
	Scanner               // the same, for one account
	ProgramDir            // must be there
	LoginSource           // dovecot: and a socket that must be there
	PasswordFile          // must be there if it is named
	ReadFile              // must be there, for the server to read
	LogFile               // file: and a path that is made, in a directory that is there
)

// A Path is what an option names.
type Path struct {
	Option string
	Where  string // as Setting.Origin
	Kind   PathKind
	Name   string // as the option has it
	Named  bool   // it isn't what the option has by default
}

// Paths are what the options name, those of the table that have a path, each item of a
// list apart.
func (c *Config) Paths() []Path {
	var all []Path
	for i, o := range options {
		if o.path == NoPath {
			continue
		}
		names := []string{o.bind(c).String()}
		if o.bind(c).adds() {
			names = items(names[0])
		}
		for _, name := range slices.DeleteFunc(names, func(name string) bool { return strings.TrimSpace(name) == "" }) {
			all = append(all, Path{o.name, c.origins[i], o.path, name, c.Named(o.name)})
		}
	}
	return all
}
