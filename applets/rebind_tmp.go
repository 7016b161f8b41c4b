package applets

import (
	"context"
	"log/slog"

	"postoffice/internal/privsep"
)

func rebindListener(ctx context.Context, l privsep.Listener, log *slog.Logger) (privsep.Listener, error) {
	ls, err := privsep.Listen(ctx, []string{l.Address}, log)
	if err != nil {
		return l, err
	}
	return ls[0], nil
}
