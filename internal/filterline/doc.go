// Package filterline reads how a mail filter is written in option filter: its address
// and the words behind that.
//
// It connects to nothing and asks no DNS: see applets/filters.
//
// Invariant: the text of filters reads as the same ones.
//
// Files:
//
//	filterline.go  Filter: what it is, and its text
package filterline
