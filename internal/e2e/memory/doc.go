// Package memory holds end-to-end tests of how much memory the processes need.
//
//	memory_test.go  a message of 100 MB on every path
//	idle_test.go    an idle server and idle sessions
//	silent_test.go  435,000 recipients whose DNS says nothing
package memory
