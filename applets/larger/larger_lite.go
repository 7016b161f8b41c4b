//go:build lite

package larger

import (
	"context"
	"errors"

	"postoffice/applets/cmdline"
	"postoffice/applets/sysexits"
)

// Programs are programs of which this build says only what it lacks.
func Programs() (authExpire, greylist, vpasswd, dbm cmdline.Applet) {
	return absent("authexpire", "[argument ...]", "look after the greylist",
			"this build of postoffice has no store, and so no greylist", "install the full postoffice"),
		absent("greylist", "report [argument ...]", "say what the greylist has come to",
			"this build of postoffice has no store, and so no greylist", "install the full postoffice"),
		absent("vpasswd", "add|set|del|enable|disable|list|check [user@domain|domain ...]", "look after the users of virtual domains and their passwords",
			"this build of postoffice makes no hashes of passwords", "install the full postoffice; or write the lines of passwd by hand, as vhosts(7) says, with a hash of doveadm pw or mkpasswd"),
		absent("dbm", "[argument ...]", "read and change a database file",
			"this build of postoffice has no databases", "install the full postoffice")
}

// absent is a program that this build is too small for, and what to do instead.
func absent(name, usage, short, why, hint string) cmdline.Applet {
	return cmdline.Applet{
		Name: name, Usage: usage, Short: short + " (not in this build)", Classic: true,
		Run: func(context.Context, *cmdline.Env) error {
			return cmdline.ExitWith(sysexits.Unavailable, errors.New(why), hint)
		},
	}
}
