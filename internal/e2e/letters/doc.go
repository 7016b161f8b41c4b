// Package letters makes messages that prove by themselves that they are whole,
// sends many of them at once, and compares what was acknowledged with what was
// delivered. The record is kept in the test's own process, which no fault reaches.
//
// The files carry the build tag e2e.
//
//	letter.go    a letter
//	delivery.go  one copy of it in a mailbox or at another server
//	ledger.go    what was sent, acknowledged and delivered
//	fleet.go     writers that send until they are stopped
package letters
