// Package pools says which provider an address sends mail for, so that all its addresses
// can count as one: by the SPF records (RFC 7208) that senders' domains and providers have
// in DNS.
//
// It judges no sender: what it takes of SPF is which addresses a domain lists.
//
// Invariants:
//   - An address is in a pool only if the provider's own record lists it: what a sender's
//     domain claims decides which provider is asked about, and no more.
//   - Ten questions at most are asked about an address, as RFC 7208 section 4.6.4 has it.
//
// Files:
//
//	pools.go   which pool an address is of
//	record.go  what a record lists
//	shipped.go the providers that come with the program
package pools
