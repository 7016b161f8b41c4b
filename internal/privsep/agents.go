package privsep

import (
	"context"
	"errors"

	"postoffice/deliver/local"
)

// Run has the item's user run a program or write a file for one message.
func (l *Link) Run(ctx context.Context, token string, j local.Job) local.Result {
	return failed("programs can't be run now", errNoAgents)
}

// Forwards says whether the user has a .forward.
func (l *Link) Forwards(ctx context.Context, user, extension string) (bool, error) {
	return false, nil
}

// List has the user read a list.
func (l *Link) List(ctx context.Context, g local.Listing) ([]local.Line, error) {
	return nil, errNoAgents
}

var errNoAgents = errors.New("users' processes can't be started")
