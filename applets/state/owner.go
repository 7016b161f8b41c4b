package state

import (
	"os"
	"syscall"

	"postoffice/applets/privsep/creds"
	"postoffice/internal/account"
	"postoffice/internal/dbm/store"
)

// AsOwner returns what calls a function with the rights of a directory's owner, whom root
// becomes for it: the owner may have put anything there. Who isn't root stays who it is.
func AsOwner(dir string) func(func() error) error {
	info, err := os.Stat(dir)
	if os.Geteuid() != 0 || err != nil {
		return func(f func() error) error { return f() }
	}
	st := info.Sys().(*syscall.Stat_t)
	owner := account.Account{UID: int(st.Uid), GID: int(st.Gid)}
	return func(f func() error) error { return creds.As(owner, -1, f) }
}

// Check says why the server could not open what it keeps, and with which command that is
// mended. It needs the rights of root or the server.
func Check(dbDir string) error {
	dir := Dir(dbDir)
	return store.Check(dir, store.Options{Mend: Mend(dbDir), As: AsOwner(dir)})
}
