// Package installs holds end-to-end tests of installing: in roots of Debian, of
// busybox and of what looks like a BSD, beside other mail servers and in their place.
//
//	exim_test.go    in exim's place and back
//	start_test.go   what docs/start.md says
//	readme_test.go  what README says; -whole builds it too, and installs it in both ways
//	status_test.go  a server that hangs
//	inits_test.go   started, stopped and looked after by real inits: OpenRC, System V's, busybox's
//	busybox_test.go on a root of busybox, and in a root from outside
//	bsd_test.go     what docs/bsd.md says, as far as Linux can
package installs
