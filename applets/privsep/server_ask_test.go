//go:build linux

package privsep

import (
	"os"
	"sync"
	"testing"
)

// ldapGetent knows one user.
const ldapGetent = `#!/bin/sh
case $3 in
ldap) echo 'ldap:*:5000:5000:L D:/home/ldap:/bin/sh' ;;
broken) exit 1 ;;
*) exit 2 ;;
esac
`

// TestLookupThroughLink: the server asks the master, which asks getent.
func TestLookupThroughLink(t *testing.T) {
	h := start(t, func(o *MasterOptions) {
		must(t, os.WriteFile(o.Names.NSSwitch, []byte("passwd: files ldap\n"), 0o644))
		must(t, os.WriteFile(o.Names.Getent, []byte(ldapGetent), 0o755))
		must(t, os.Chmod(o.Names.Getent, 0o755)) // whatever the umask is
	})
	k := h.dial()
	k.want("ldap 5000 false <nil>", "lookup ldap")
	k.want("root 0 false <nil>", "lookup root")
	k.want(" 0 true no such user", "lookup nix")
	k.want(" 0 false getent", "lookup broken")
	var wg sync.WaitGroup
	for i := range 100 { // more than may be under way at once
		wg.Go(func() { h.dial().want(" 0 true", "lookup nix%d", i) })
	}
	wg.Wait()
}
