// Package packages holds end-to-end tests of the packages that make package makes:
// installed into roots of Debian in the place of other mail servers, upgraded,
// removed; laid out by rpm; unpacked.
//
//	build_test.go  the packages, made once, and what they hold
//	deb_test.go    the deb in place of exim4, postfix and dma
package packages
