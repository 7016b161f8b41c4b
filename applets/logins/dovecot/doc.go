// Package dovecot asks Dovecot for logins, by the protocol of its authentication service
// (Dovecot's doc "Authentication Protocol", version 1): whatever Dovecot knows, of PAM,
// LDAP, SQL or files, serves here too.
//
// Each exchange has a connection of its own: what one login does is no other's, and
// nothing is kept that could be of a service that is gone.
//
// Invariants:
//   - What the service says is as foreign as what a client says: a line has a bound, a
//     name is looked at before it is believed, and a word that is not known changes
//     nothing.
//   - A service that is away, slow or talks nonsense is no wrong password: login.Later.
//
// Files:
//
//	source.go   which mechanisms there are, and the Source
//	exchange.go one login
//	line.go     the lines of the protocol
package dovecot
