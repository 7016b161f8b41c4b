// Package logins carries logins over a link: the server asks, and a process that may read
// hashes answers. Both ends are a login.Source to who uses them.
//
// It knows no file and no mechanism: see applets/logins/accounts.
//
// Invariants:
//   - Each message is one packet of at most maxPacket octets, and of one form for each
//     meaning (A71); the first that is none ends the link, whoever sends it.
//   - At most maxOpen exchanges are open, and maxSite of one site, each for exchangeWait; what comes for another
//     one is answered with Later.
//   - Whoever waits for a hash keeps nobody else waiting but by the pool's turns.
//
// Files:
//
//	wire.go     the messages as octets
//	client.go   the server's end
//	ondemand.go the same, of a process that is started when it is needed
//	serve.go    the end of who knows
package logins
