// Package certs reads certificates with their keys from files, notices when they change,
// makes one where none is named, and chooses the one for a client.
//
// It signs nothing for others and knows neither options nor processes: whoever may read
// the files has a Store, and who speaks TLS a Set.
//
// Invariants:
//   - A pair that can't be used never takes the place of one that can: what was read
//     before stays, and that is told.
//   - No fault of a file stops mail: where nothing is left a certificate of our own
//     serves, and where that can't be kept, one in memory.
//   - A file is its owner's to write, who is root or whoever we are: else it is refused.
//   - Set has no private key in it but what it was given.
//
// Files:
//
//	pair.go     one pair: files, what fits together, days to the end
//	own.go      the certificate that we make
//	store.go    all pairs, and their changes
//	set.go      what a server offers, and to whom which
package certs
