// Package machine runs scripts on a machine with a kernel of its own, for what the
// kernel that the tests run on withholds: AppArmor, limits that only root of a whole
// machine may raise, control groups.
//
// The kernel is User Mode Linux, a program: it needs no /dev/kvm, and starts in seconds.
// It runs as nobody, in namespaces without a network, and ends with its script; what the
// script has started ends with it. It has one processor. Its disk is a copy of a
// directory, and goes with it. Only tests import this, and they run as root.
//
//	machine.go  the disk, the kernel, and what comes back
//	init.sh     process 1 of the machine
package machine
