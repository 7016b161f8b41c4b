// Package hashes reads hashes of passwords as crypt(3), htpasswd(1) and Dovecot write them,
// and makes new ones.
//
// Invariants:
//   - A hash is another person's text: what it costs is read before it is worked on, and
//     one that would take more than MaxMemory, or some seconds, is none.
//   - No error holds a hash or a password.
//   - Comparisons take the same time wherever two values differ.
//
// Files:
//
//	hashes.go reading a hash, whatever its form
//	forms.go, forms_lite.go
//	          crypt(3)'s forms, and new hashes
//	cost.go   what a hash would cost
//	shacrypt.go
//	          SHA-crypt
//	digest.go those that are one round of a digest
//	apr1.go   htpasswd's own
//	pool.go   how many at once, and whose is next
package hashes
