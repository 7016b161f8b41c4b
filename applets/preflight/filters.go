package preflight

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"postoffice/applets/config"
	"postoffice/internal/filterline"
)

// namesWait is how long all names of filters may take: somebody waits for the answer.
const namesWait = 15 * time.Second

// Filters finds mail filters that can't be reached as their lines have them. A filter that
// is down keeps no server from starting. addrs looks up a host; nil: names are not
// looked up.
func Filters(ctx context.Context, c *config.Config, w Who, addrs func(ctx context.Context, host string) ([]netip.Addr, error)) (all []Finding) {
	ctx, cancel := context.WithTimeout(ctx, namesWait)
	defer cancel()
	p := config.Path{Option: "filter", Where: c.Settings()[config.Index("filter")].Origin}
	for _, f := range c.Filters {
		hint, err := reach(ctx, f.Address, w, addrs)
		if err == nil {
			continue
		}
		if f.Name != f.Address {
			err = fmt.Errorf("filter %s: %w", f.Name, err)
		}
		all = append(all, Found(Odd, p, err, hint+"; "+meanwhile(f.Fail)))
	}
	return all
}

// reach says why nobody is to be found at a filter's address, and what to do.
func reach(ctx context.Context, address string, w Who, addrs func(ctx context.Context, host string) ([]netip.Addr, error)) (hint string, err error) {
	if strings.HasPrefix(address, "/") {
		return reachSocket(address, w)
	}
	host, _, bad := net.SplitHostPort(address)
	if _, ip := netip.ParseAddr(host); bad != nil || ip == nil || addrs == nil {
		return "", nil
	}
	found, err := addrs(ctx, host)
	switch {
	case err != nil:
		return "look at dns-server and /etc/resolv.conf, or write the filter's address", fmt.Errorf("look up %s: %w", host, err)
	case len(found) == 0:
		return "write the right name, or the filter's address", fmt.Errorf("%s has no address", host)
	}
	return "", nil
}

// reachSocket is reach for a socket of this machine.
func reachSocket(socket string, w Who) (hint string, err error) {
	if w.Server.UID < 0 {
		return "", nil // that there is no such account is told
	}
	closed := ""
	err = mayConnect(socket, w)
	if errors.Is(err, unix.EACCES) {
		w.AsServer(func() error {
			closed = impassable(filepath.Dir(socket))
			return nil
		})
	}
	switch {
	case closed != "":
		return "chmod a+x " + closed + ", or put " + w.Server.Name + " into the group that it belongs to", fmt.Errorf("connect %s: %s does not let %s through", socket, closed, w.Server.Name)
	case errors.Is(err, unix.EACCES):
		return "have the filter make its socket so that " + w.Server.Name + " may write it, or put that account into the group that it belongs to", err
	}
	return "start the filter, or have it make its socket there", err
}

// impassable is the first directory on a way that this thread may not pass, from the
// root; "" none.
func impassable(dir string) string {
	if dir != "/" && dir != "." {
		if above := impassable(filepath.Dir(dir)); above != "" {
			return above
		}
	}
	if errors.Is(access(dir, unix.X_OK), unix.EACCES) {
		return dir
	}
	return ""
}

// meanwhile is what becomes of mail while a filter can't be asked.
func meanwhile(f filterline.Failure) string {
	switch f {
	case filterline.Tempfail:
		return "until then clients are asked to come again"
	case filterline.Reject:
		return "until then mail is refused"
	case filterline.Quarantine:
		return "until then mail is taken and held"
	}
	return "until then mail goes on without it"
}
