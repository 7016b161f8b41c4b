package creds

import (
	"fmt"
	"runtime"
)

// Guard returns the error of f, and turns a panic of f into one.
func Guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			buf := make([]byte, 4<<10)
			err = fmt.Errorf("panic: %v\n%s", p, buf[:runtime.Stack(buf, false)])
		}
	}()
	return f()
}
