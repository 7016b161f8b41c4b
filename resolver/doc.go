// Package resolver gives DNS answers as Go values.
//
// It alone imports miekg/dns; to the rest of the program the DNS is a list of
// exchangers, a list of addresses or a verified name. It decides no delivery:
// see deliver/remote for what follows from an answer.
//
// Invariants:
//   - "No such domain" (ErrNotFound) is said only after a server said NXDOMAIN,
//     or of text that can't be a domain name. Every other trouble, a server's
//     SERVFAIL and a silent network alike, is ErrTemporary.
//   - An answer counts only from the address asked, with the ID sent and the
//     question asked. IDs come from crypto/rand, source ports from the kernel,
//     one socket for each question.
//   - Names that leave the package are host names: letters, digits, hyphens,
//     underscores and dots, at most 253 octets. Others are dropped.
//   - Each wait has a limit: one try, one question with all its tries, and the
//     caller's context.
//   - Memory is bounded: at most Options.CacheSize answers are kept, 512 octets
//     each on average, none beyond its TTL. Failures are never kept.
//   - Equal questions asked at the same time are asked of the server once.
//   - At most 256 questions are under way at a time, with a socket each, a quarter
//     of them for the names of clients and the others for where mail goes.
//
// Files:
//
//	resolver.go    the resolver and its options
//	conf.go        resolv.conf(5), and which servers answer
//	hosts.go       hosts(5)
//	exchange.go    a question to a server
//	answer.go      what its answer says
//	cache.go       answers that are kept
//	flight.go      one question for all who ask it at a time, and how many at a time
//	errors.go      errors, permanent and temporary
//	names.go       host names
//	mx.go          the hosts of a domain, and the texts of a name
//	addrs.go       the addresses of a host
//	ptr.go         the name of an address
//	self.go        our own names
//	interfaces.go  our own addresses
//	watched.go     files that are read again when they change
package resolver
