//go:build lite

package dbm

import (
	"errors"
	"testing"
)

// Without Pebble every function says so and touches nothing.
func TestLite(t *testing.T) {
	path := t.TempDir() + "/x.db"
	_, open := Open(path, Options{})
	_, create := Create(path, Options{})
	_, change := Change(path, Options{})
	for _, err := range []error{open, create, change} {
		if !errors.Is(err, ErrLite) {
			t.Errorf("%v, want %v", err, ErrLite)
		}
	}
}
