// Package masquerade gives the senders of this machine's own mail other addresses where
// it leaves the machine: options masquerade and sender-map.
//
// It never touches mail that passes through, nor anything but the reverse-path and the
// fields From, Sender and Reply-To.
//
// Invariants:
//   - Octets that are no rewritten address stay as they are: display names, comments,
//     folding, addresses of others.
//   - A line of the file that can't be read is told with its number, once, and the
//     others hold.
//
// Files:
//
//	names.go  Names: which address stands for which
//	file.go   the file of option sender-map
//	header.go a message whose header is rewritten as it passes
package masquerade
