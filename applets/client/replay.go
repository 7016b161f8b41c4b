package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxReplay is how many octets of a message are kept in memory to be sent once
// more; what is behind them goes into a file without a name.
const maxReplay = 64 << 10

// replay is a reader whose octets can be read again from their start.
type replay struct {
	src  io.Reader // gives each octet once
	head bytes.Buffer
	file *os.File // what follows head, as far as it was read; nil: nothing yet
	err  error    // why the message can't be kept any more
	size int64    // octets in file
}

func (r *replay) close() {
	if r.file != nil {
		r.file.Close()
	}
}

// start returns a reader of the whole message, which ends what an earlier one
// may read. An error says that a part of it is gone.
func (r *replay) start() (io.Reader, error) {
	if r.err != nil {
		return nil, fmt.Errorf("the message can't be read again: %w", r.err)
	}
	kept := []io.Reader{bytes.NewReader(r.head.Bytes())}
	if r.file != nil {
		kept = append(kept, io.NewSectionReader(r.file, 0, r.size))
	}
	return io.MultiReader(append(kept, keeper{r})...), nil
}

// keeper reads what nobody has read yet, and keeps it.
type keeper struct{ *replay }

func (k keeper) Read(p []byte) (int, error) {
	n, err := k.src.Read(p)
	k.keep(p[:n])
	return n, err
}

// keep notes octets. That it can't costs no more than the second try.
func (r *replay) keep(p []byte) {
	if r.err != nil || len(p) == 0 {
		return
	}
	if r.file == nil && r.head.Len()+len(p) <= maxReplay {
		r.head.Write(p)
		return
	}
	if r.file == nil {
		if r.file, r.err = nameless(); r.err != nil {
			return
		}
	}
	n, err := r.file.WriteAt(p, r.size)
	r.size += int64(n)
	r.err = err
}

// nameless makes a file in the directory for temporary files that is gone when
// the program ends, however it ends.
func nameless() (*os.File, error) {
	f, err := os.CreateTemp("", "sendmail-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
