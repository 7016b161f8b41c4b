// Package cmdline is what all programs of the binary have in common: how they
// are found by name, read their flags, say what is wrong and choose an exit
// code.
//
// It knows no program: package applets has the list. It never opens the queue
// or speaks with a server.
//
// Invariants:
//   - ExitStatus has the one table from errors to exit codes.
//   - argv is normalised once and then read by pflag; no program looks at argv
//     itself.
//   - What a person can mend is said on stderr: who, where, what, and on a
//     hint line what to do.
//   - No os.Exit and no globals: a test runs a program with its own Env.
//
// Files:
//   - applet.go: a program and a role of the server; which one argv[0] names
//   - argv.go: argv as getopt(3) reads it, made fit for pflag
//   - env.go: what a program gets from outside; the flags that all have
//   - errors.go: errors with exit code and hint; how they are told
//   - help.go: --help
//   - printed.go: what others have written, made fit for a terminal
//   - span.go: times as flags give them
//   - text.go: a flag with a value
//   - version.go: -V and -d0
package cmdline
