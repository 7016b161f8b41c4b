package greylist_test

import (
	"testing"

	"postoffice/applets/smtpd/greylist"
	"postoffice/applets/smtpd/greytest"
)

func TestMemory(t *testing.T) {
	greytest.Run(t, func(*testing.T) greylist.Store { return new(greylist.Memory) })
}
