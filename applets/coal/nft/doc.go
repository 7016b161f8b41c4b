// Package nft keeps clients out by a table of the kernel's packet filter, nftables:
// whoever is in one of its two sets can begin no connection to the ports of the
// server until the time is over.
//
// It never decides who that is, and changes no table but its own.
//
// Invariants:
//   - Only the first packet of a connection is dropped: a session that has begun goes
//     on, so that no message breaks off.
//   - Each address has a time limit, which the kernel keeps, and each set a size: what
//     is left behind by a server that was killed ends by itself.
//   - All of the table is made, or made anew, in one step.
//
// Files:
//
//	nft_linux.go the table
//	nft_none.go  builds without it
package nft
