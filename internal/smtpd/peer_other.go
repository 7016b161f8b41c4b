//go:build !linux

package smtpd

import (
	"errors"
	"net"
)

// peer can't tell: the submission socket refuses everybody, and mail comes in
// by TCP and by sendmail -bs.
func peer(*net.UnixConn) (uid int, err error) { return 0, errNoPeer }

func loadAverage() (float64, error) { return 0, errors.ErrUnsupported }
