// Package config reads postoffice.cf and -o into one checked Config.
//
// One table, options, drives the file, -o, `postoffice config` and the option
// list of postoffice.cf(5); an option is a line there and nothing elsewhere.
//
// Invariants:
//   - Everything is checked before anything is used, and everything that is
//     wrong is told at once, each with its file, line and the nearest valid
//     name; nothing starts half-configured.
//   - What an option may be set to with -o by whom is safe by default: a line
//     of the table that says nothing is for root alone.
//   - The default file counts only if nobody but root can have written it, a
//     -C file only if nobody but root and the caller can.
//   - A value that is printed parses to the same value again.
//
// No other package sees a Config: applets hands each its own settings.
//
// Files:
//
//	action.go    what becomes of mail that a check finds bad
//	check.go     what values may be: paths, accounts, hosts, clients
//	clients.go   lists of clients that are believed
//	config.go    Config and Load
//	debug.go     the settings as the verb DEBUG shows them
//	errors.go    what is wrong, with file and line
//	load.go      reading the file and -o
//	options.go   the table of options
//	paths.go     what options name of the machine
//	port.go      a switch that may name a port
//	secure.go    which files count, by who can have written them; outsiders of a namespace
//	smarthost.go relay-host and relay-tls, and filter
//	span.go      a switch that may be a time
//	settings.go  options as text, for config, for the manual and for the server, and what is
//	             told of them
//	value.go     parsers of values, and how they print
package config
