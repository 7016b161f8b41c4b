//go:build !lite

package larger

import (
	"postoffice/applets/authexpire"
	"postoffice/applets/cmdline"
	"postoffice/applets/databases"
	"postoffice/applets/virtual"
)

// Programs are programs of which a small build says only what it lacks.
func Programs() (authExpire, greylist, vpasswd, dbm cmdline.Applet) {
	return authexpire.AuthExpire, authexpire.Greylist, virtual.Passwords, databases.DBM
}
