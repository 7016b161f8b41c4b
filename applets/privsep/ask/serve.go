package ask

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// Serve answers what comes over a link, a number of questions at a time, until the link
// ends. A question is a packet of size octets at most, and one more is read, so that answer
// sees what is too long. It appends what is to be sent to an empty buffer, and keeps nothing
// of either. The first packet that it has an error for ends the link, and is what Serve
// returns.
func Serve(link *net.UnixConn, atOnce, size int, answer func(to, question []byte) ([]byte, error)) error {
	var work sync.WaitGroup
	wrong := make(chan error, 1)
	for range atOnce {
		work.Go(func() {
			if err := answers(link, size, answer); err != nil {
				select {
				case wrong <- err:
				default:
				}
			}
			link.Close()
		})
	}
	work.Wait()
	select {
	case err := <-wrong:
		return err
	default:
		return nil
	}
}

// answers answers one question after the other.
func answers(link *net.UnixConn, size int, answer func(to, question []byte) ([]byte, error)) error {
	in := make([]byte, size+1)
	var out []byte
	for {
		n, err := link.Read(in)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
			return nil
		}
		if err != nil {
			return err
		}
		if out, err = answer(out[:0], in[:n]); err != nil {
			return err
		}
		if _, err := link.Write(out); err != nil {
			return nil // nobody is left who reads it
		}
	}
}
