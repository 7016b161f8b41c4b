//go:build !linux || lite

package nft

import (
	"errors"
	"net/netip"
	"time"
)

var errNone = errors.New("this build of postoffice can't keep clients out by nftables (option coal)")

// Table is none.
type Table struct{}

// Open is an error.
func Open([]uint16) (*Table, error) { return nil, errNone }

// Supported says why this build has no such table.
func Supported() error { return errNone }

// Add is an error.
func (*Table) Add(netip.Prefix, time.Duration) error { return errNone }

// Close does nothing.
func (*Table) Close() error { return nil }
