// Package greytest tests whether something is a greylist.Store.
//
// Files:
//
//	run.go the test
package greytest
