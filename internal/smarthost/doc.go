// Package smarthost reads how a smarthost is written: the URL, or the name with a
// port, of option relay-host.
//
// It never asks DNS and opens nothing: see deliver/remote.
//
// Invariant: the text of a Host or a Trust reads as the same one.
//
// Files:
//
//	smarthost.go  Host: what it is, and its text
//	trust.go      Trust: which certificate is the right one (option relay-tls)
package smarthost
