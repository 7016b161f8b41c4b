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
// What is logged, and when, is the callers': docs/logging.md has all events and fields.
//
// Secrets are no attributes: there is no constructor that could carry one.
//
// Files:
//
//	attrs.go    the attributes, one constructor each
//	maillog.go  options, and the loggers made of them
//	handler.go  slog's handler
//	format.go   what a line looks like
//	escape.go   what comes from outside
//	queue.go    lines on their way to a sink
//	sinks.go    syslog and standard error
//	file.go     a log file
package maillog
