// Package packages holds end-to-end tests of the packages that make package makes:
// installed into roots of Debian in the place of other mail servers, upgraded,
// removed; laid out by rpm; unpacked.
//
//	build_test.go  the packages, made once, and what they hold
//	files_test.go  their files, compared, and what lintian and rpmlint say
//	deb_test.go    the deb in place of exim4, postfix and dma
//	life_test.go   the deb upgraded, downgraded, replaced, purged
//	senders_test.go
//	               programs that mail by themselves
//	page_test.go   what docs/replace.md says, for Debian and for Red Hat
//	rpm_test.go    the rpm, by rpm in a root
//	systemd_test.go
//	               the units, run by a systemd in namespaces, and what they shut off
package packages
