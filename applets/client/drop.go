package client

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/sysexits"
	"postoffice/internal/disk"
	"postoffice/spool"
	"postoffice/spool/envelope"
	"postoffice/spool/maildrop"
)

// leave puts a message into maildrop/, where the next server finds it. why is
// what the caller gets where there is no such directory.
func leave(conf *config.Config, d maildrop.Drop, text io.Reader, why error) error {
	name := filepath.Join(conf.QueueDir, maildrop.Dir)
	dir, err := disk.OpenBlind(name)
	if err != nil {
		return why
	}
	defer dir.Close() // nothing is written to it any more
	if !maildrop.Is(dir) {
		return why
	}
	return leaveIn(dir, name, conf, d, text)
}

// leaveIn is leave in an open maildrop/ of this name.
func leaveIn(dir disk.Dir, name string, conf *config.Config, d maildrop.Drop, text io.Reader) error {
	limit := maildrop.Limit(conf.Size)
	share, err := shareOf(dir, conf)
	if err == nil {
		err = d.Leave(dir, text, min(limit, share))
	}
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, maildrop.ErrTooLarge):
	case share < limit:
		err = fmt.Errorf("%w: it has at most half of what is left for mail", spool.ErrFull)
	case limit == conf.Size: // the server wouldn't take it either
		err = fmt.Errorf("%w: %w", envelope.ErrInvalid, err)
	}
	return notLeft(fmt.Errorf("leave the message in %s, as no mail server answers: %w", name, err))
}

// shareOf is how many octets of the room for mail one message may take that is left,
// as of what a server takes: half of what is free above minfree. How much its user has
// there already nobody but the server can see.
func shareOf(dir disk.Dir, conf *config.Config) (int64, error) {
	s, err := dir.Space()
	if err != nil {
		return 0, err
	}
	share := (s.Octets - spool.KeptFree(conf.MinFree, s.Total)) / 2
	if share <= 0 || s.Inodes == 0 {
		return 0, fmt.Errorf("%w: %d octets and %d inodes are free", spool.ErrFull, s.Octets, s.Inodes)
	}
	return share, nil
}

// notLeft says what to do about a message that couldn't be left.
func notLeft(err error) error {
	code, hint := sysexits.TempFail, "nothing was sent: try again when that is mended, or the server runs (postoffice smtpd)"
	switch {
	case errors.Is(err, envelope.ErrInvalid):
		code, hint = sysexits.Unavailable, "nothing was sent, and it wouldn't be later"
	case errors.Is(err, maildrop.ErrTooLarge):
		hint = "nothing was sent: a server takes it; ask root to start one (postoffice smtpd)"
	case errors.Is(err, disk.ErrNoSync):
		hint = "nothing was sent: ask root to put the queue on a local file system, such as ext4, XFS or Btrfs"
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		hint = "nothing was sent: ask root to start the server (postoffice smtpd), or to let this program write there"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, spool.ErrFull):
		hint = "nothing was sent: make room there, or ask root to start the server (postoffice smtpd)"
	}
	return cmdline.ExitWith(code, err, hint)
}
