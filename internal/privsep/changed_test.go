//go:build linux

package privsep

import (
	"errors"
	"fmt"
	"testing"

	"postoffice/deliver/local"
)

// That an item has vanished is told from all other failures at the far end.
func TestChanged(t *testing.T) {
	words := fmt.Errorf("alias x: %w", local.ErrChanged)
	if err := parseListed(listedFrame("1", words)); !errors.Is(err, local.ErrChanged) || err.Error() != words.Error() {
		t.Errorf("a list: %v", err)
	}
	if err := parseListed(listedFrame("1", errors.New(words.Error()))); err == nil || errors.Is(err, local.ErrChanged) {
		t.Errorf("a list that can't be read: %v", err)
	}
	got, err := parseResult(resultFrame(TokenResult{"t", local.Result{Status: local.Changed, Err: words}}).fields)
	if err != nil || got.Result.Status != local.Changed || got.Result.Err.Error() != words.Error() {
		t.Errorf("a result: %+v, %v", got, err)
	}
}
