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
package config
