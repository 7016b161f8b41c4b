// Package cert says which certificate of another server is the right one: one that is for
// its name, of an authority that counts, or a certain one; or that any will do.
//
// It knows neither messages nor options: see deliver/remote, which asks for messages that
// need TLS, and deliver/remote/login, for smarthosts.
//
// Files:
//
//	cert.go  Wanted, and settings for crypto/tls
package cert
