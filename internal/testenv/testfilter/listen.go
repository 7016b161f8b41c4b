package testfilter

import (
	"errors"
	"net"
	"path/filepath"
	"sync"
)

// Listen has the filter serve a socket in a directory, and returns its path. end ends
// that when all its connections have ended, and returns what went wrong.
func (f *Filter) Listen(dir string) (address string, end func() error, err error) {
	address = filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		return "", nil, err
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				err := f.Serve(c)
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
	})
	return address, func() error {
		l.Close()
		all.Wait()
		return errors.Join(errs...)
	}, nil
}
