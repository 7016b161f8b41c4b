// Package index finds things by a hash of 32 bits: sorted entries of eight octets, in
// memory or in a file of a directory that it keeps.
//
// It knows neither what a hash is of nor what an entry points to. Whoever finds one looks
// there whether it is the right one.
//
// Invariants:
//   - A search is one for both: it looks at pages of 4 KiB, one or two where the hashes are
//     spread evenly, and ends whatever is in them.
//   - Nothing of a file counts but what was sealed with the key of whoever asks, for that
//     file and that page of it: what is torn, damaged, older or somebody else's is
//     ErrDamaged, never "not there".
//   - A file is used for what it was made of alone: its header has the identity of that.
//   - Files are put in place whole, by a rename, and never changed. Nothing is synced: what
//     a power cut leaves half is seen by its seals, and made anew.
//   - The directory and its files are their owner's alone, or they aren't used; nothing
//     in it is followed. It holds no more than maxOctets.
//
// Files:
//
//	sip.go    hashes with a key
//	table.go  the search
//	file.go   entries in a file
//	dir.go    the directory: opening, writing, tidying up
package index
