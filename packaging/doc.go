// Package packaging is the files with which postoffice becomes a part of a system: its
// first configuration, and what starts it at boot. Packages are made of them, and
// postoffice install, which has them within, writes the same.
//
// They speak of /usr/sbin, where a package puts the program; postoffice install puts its
// own directory in that place.
package packaging

import _ "embed" // whose directives fill the variables below

// What the files say.
var (
	//go:embed postoffice.cf
	Config string // /etc/postoffice.cf: loopback only
	//go:embed deb/mailname.cf
	MailName string // what stands behind it on Debian, whose programs share a mail name
	//go:embed rc.d/rundir.cf
	RunDir string // and on a BSD, which has no /run

	//go:embed systemd/postoffice.service
	Unit string
	//go:embed systemd/postoffice.socket
	SocketUnit string // systemd has the port instead; enabled by nobody

	//go:embed sysv/postoffice
	SysV string // an init script, with LSB's exit codes
	//go:embed openrc/postoffice
	OpenRC string
	//go:embed rc.d/postoffice
	RCD string // FreeBSD, DragonFly and NetBSD
	//go:embed rc.d/postoffice.openbsd
	RCDOpenBSD string
)
