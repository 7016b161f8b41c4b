package preflight

import (
	"context"
	"errors"
	"net"
	"syscall"

	"postoffice/applets/cmdline"
	"postoffice/applets/service"
	"postoffice/applets/sysexits"
)

// Ports looks whether the addresses to listen on can be had. One that the server of the
// run directory has already, or a service manager, which passes it on, is fine.
func Ports(ctx context.Context, addresses []string, runDir string) []Finding {
	var all []Finding
	for _, address := range addresses {
		for _, err := range service.Try(ctx, address) {
			hint := ""
			if errors.Is(err, syscall.EADDRINUSE) {
				var ours bool
				if ours, hint = held(portOf(err), runDir); ours {
					continue
				}
			}
			all = append(all, Finding{Stops, "listen", alsoHint(PortError(err), hint)})
		}
	}
	return all
}

// portOf is the port that an error is about.
func portOf(err error) int {
	if e := (*net.OpError)(nil); errors.As(err, &e) {
		if a, ok := e.Addr.(*net.TCPAddr); ok {
			return a.Port
		}
	}
	return 0
}

// alsoHint puts another hint before those that an error has.
func alsoHint(err error, hint string) error {
	if e := (*cmdline.ExitError)(nil); hint != "" && errors.As(err, &e) {
		return cmdline.ExitWith(sysexits.OSErr, e.Err, hint, e.Hint)
	}
	return err
}
