package auth

import (
	"bytes"
	"fmt"
)

// Where is what the process is told.
type Where struct {
	Dir     string // of virtual domains
	Spool   string // of their mailboxes; "": another server has them
	Maildir bool   // each mailbox is a Maildir
	Secret  string // accounts.New has it
}

// whereSize is the largest form of a Where: kind, two paths, the secret and what parts
// them.
const whereSize = 1 + 2*(maxDir+1) + maxSecret

func (w Where) check() error {
	for _, dir := range []string{w.Dir, w.Spool} {
		if len(dir) > maxDir || bytes.IndexByte([]byte(dir), 0) >= 0 {
			return fmt.Errorf("a directory of %d octets, want 1 to %d without a NUL", len(dir), maxDir)
		}
	}
	if len(w.Secret) > maxSecret {
		return fmt.Errorf("a secret of %d octets, want at most %d", len(w.Secret), maxSecret)
	}
	if w.Dir == "" {
		return fmt.Errorf("no directory: %w", errForm)
	}
	return nil
}

// The first octet of a Where.
const (
	files    = 'f'
	maildirs = 'm'
)

// append encodes w behind b.
func (w Where) append(b []byte) []byte {
	kind := byte(files)
	if w.Maildir {
		kind = maildirs
	}
	b = append(append(append(b, kind), w.Dir...), 0)
	return append(append(append(b, w.Spool...), 0), w.Secret...)
}

// decodeWhere reads a Where, all of b.
func decodeWhere(b []byte) (w Where, err error) {
	if len(b) == 0 || len(b) > whereSize || b[0] != files && b[0] != maildirs {
		return w, errForm
	}
	dir, rest, _ := bytes.Cut(b[1:], []byte{0})
	spool, secret, ok := bytes.Cut(rest, []byte{0})
	w = Where{Dir: string(dir), Spool: string(spool), Maildir: b[0] == maildirs, Secret: string(secret)}
	if !ok || w.check() != nil {
		return Where{}, errForm
	}
	return w, nil
}
