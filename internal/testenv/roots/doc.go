// Package roots makes roots of Debian for tests that install something: a fresh copy
// for each test, of a tree that is made once for a machine.
//
// What runs in one has its processes, mounts and network for itself, and ends with the
// script that started it. Only tests import this, and they run as root.
//
//	root.go  a root, and what is done in it
//	boot.go  a root whose own init starts it
//	make.go  the tree, by mmdebstrap from the machine's own sources of packages
package roots
