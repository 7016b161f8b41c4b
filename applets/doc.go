// Package applets is the command line: it turns argv into one call of what
// the other packages offer, and their errors into exit codes.
//
// A program of the binary is an Applet, a value that describes it and a Run
// that reads top down: flags, open, work. Main picks it by argv[0], or by
// argv[1] after postoffice.
//
// Invariants:
//   - This package alone sees the configuration and decides on exit codes;
//     statuses is the one table from errors to them.
//   - argv is normalised once, in argv.go, and then read by pflag; no applet
//     looks at argv itself.
//   - What a person can mend is said on stderr: who, where, what, and on a
//     hint line what to do.
//   - No os.Exit and no globals: a test runs an applet with its own Env.
package applets
