// Package authexpire has the programs that look after the greylist: authexpire and
// greylist.
//
// How long who waits is greylist's to say, and where records are client's: what runs here
// is the same whether a server has them or nobody does.
//
// Invariants:
//   - What senders call themselves is made fit for a terminal before it is printed.
//   - A record is deleted as it was judged, or stays: one that a server has changed
//     meanwhile is judged anew.
//   - However many records there are, a page of them is in memory.
//
// Files:
//
//	authexpire.go flags, and which of its works is meant
//	expire.go     records that are deleted
//	list.go       records that are listed, allowed and forbidden
//	explain.go    why somebody waits, and until when
//	search.go     which records are about a key, an address of mail or one of a client
//	report.go     what the greylist has come to
package authexpire
