package shadow

import (
	"context"
	"os"

	"postoffice/applets/privsep/birth"
	"postoffice/applets/privsep/logins"
	"postoffice/applets/smtpd/login"
)

// OnDemand returns the logins of a process that start starts when it is needed, and again
// when it has ended; it returns the server's end of its link.
func OnDemand(start func(context.Context) (*os.File, error)) login.Source {
	var kept logins.Kept[*logins.Client]
	return logins.Demanded{
		Running: kept.Running,
		Current: func(ctx context.Context) (*logins.Client, error) {
			return kept.Get(ctx, func(ctx context.Context) (*logins.Client, error) {
				link, err := start(ctx)
				if err != nil {
					return nil, err
				}
				conn, err := birth.Conn(link)
				if err != nil {
					return nil, err
				}
				return logins.NewClient(ctx, conn)
			})
		},
	}
}
