package auth

import (
	"bytes"
	"fmt"
	"os"

	"postoffice/internal/account"
	"postoffice/internal/disk"
	"postoffice/vhost"
)

// Where is what the process is told.
type Where struct {
	Dir     string // of virtual domains
	Spool   string // of their mailboxes; "": another server has them
	Maildir bool   // each mailbox is a Maildir
	Index   string // directory for indexes of large passwd files; "": they are in memory
	Secret  string // accounts.New has it
}

// whereSize is the largest form of a Where: kind, three paths, the secret and what
// parts them.
const whereSize = 1 + 3*(maxDir+1) + maxSecret

func (w Where) check() error {
	for _, dir := range []string{w.Dir, w.Spool, w.Index} {
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
	b = append(append(b, w.Spool...), 0)
	return append(append(append(b, w.Index...), 0), w.Secret...)
}

// decodeWhere reads a Where, all of b.
func decodeWhere(b []byte) (w Where, err error) {
	if len(b) == 0 || len(b) > whereSize || b[0] != files && b[0] != maildirs {
		return w, errForm
	}
	dir, rest, _ := bytes.Cut(b[1:], []byte{0})
	spool, rest, _ := bytes.Cut(rest, []byte{0})
	index, secret, ok := bytes.Cut(rest, []byte{0})
	w = Where{Dir: string(dir), Spool: string(spool), Maildir: b[0] == maildirs, Index: string(index), Secret: string(secret)}
	if !ok || w.check() != nil {
		return Where{}, errForm
	}
	return w, nil
}

// Store answers from the files of virtual domains as w has it, in this process. note is
// told what is wrong with the indexes.
func (w Where) Store(note func(error)) *vhost.Store {
	s := vhost.New(w.Dir, account.Machine())
	if w.Index != "" && w.Secret != "" {
		s.KeepIndexes(vhost.Indexes{FS: disk.OS(), Dir: w.Index, UID: os.Geteuid(), Secret: []byte(w.Secret), Note: note})
	}
	return s
}
