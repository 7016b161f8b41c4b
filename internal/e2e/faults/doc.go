// Package faults holds end-to-end tests that break something while mail flows:
// processes killed, power cut, system calls that fail, full disks and quotas. No
// acknowledged letter is lost, none comes more often than a kill explains.
//
// `go test -faults=long` does it thousands of times; `make faults` calls it.
//
//	kill_test.go     processes killed at random
//	power_test.go    the disk's image at one instant, recovered
//	syscall_test.go  a fault in every system call
//	full_test.go     a full spool and a full mailbox
//	quota_test.go    quotas
//	box_test.go      faults of every kind of mailbox
//	border_test.go   what each process has and may do
//	users_test.go    programs of users, and a server that ends meanwhile
//	oracle_test.go   the spool explained and recovered
//	window_test.go   what a kill may deliver again
//	mute_test.go     thousands of hosts that say nothing
//	hung_test.go     homes and lists that do not answer
//	greylist_test.go the store of the greylist: full, killed, damaged, handed over
//	greylist_sessions_test.go
//	                 the greylist, a clock that jumps, and many sessions with one sender
//	crowd_test.go    thousands of clients that say nothing, or say it slowly
package faults
