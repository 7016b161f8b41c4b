// Package maillog writes the mail log: attributes with fixed names for
// log/slog, and handlers that put each event on one line of a sink.
//
// Invariants:
//   - A line is one event: whatever a peer sent, octets outside printable
//     ASCII and the backslash appear as \xNN, and the line has at most
//     MaxLine octets.
//   - Logging never waits for the sink. Lines go through a bounded queue to
//     one goroutine; what a slow, blocked or vanished sink can't take is
//     dropped, counted, and the count is a line of its own afterwards.
//   - A file that was renamed or removed is made again, with the mode and owner
//     of the one before, and as long as that can't be done a renamed one takes
//     the lines; syslog is connected again when it comes back.
//
// Secrets are no attributes: there is no constructor that could carry one.
package maillog
