// Package routes is the file of option routes: where mail of a sender, or for a domain,
// goes instead of where relay-host and DNS would send it.
//
// It never looks anything up: see deliver/route.
//
// Invariants:
//   - A sender's line comes before a domain's, that before the line of all, the longest
//     name first.
//   - A line that can't be read is told with its number, once, and the others hold.
//
// Files:
//
//	table.go  Table: which line counts
//	parse.go  the file's text
package routes
