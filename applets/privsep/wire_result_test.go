//go:build linux

package privsep

import (
	"errors"
	"fmt"
	"testing"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
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
	got, err := parseResult(resultFrame(local.TokenResult{Token: "t", Result: local.Result{Outcome: outcome.Outcome{Err: words}, Answer: local.Changed}}).fields)
	if err != nil || got.Result.Answer != local.Changed || got.Result.Err.Error() != words.Error() {
		t.Errorf("a result: %+v, %v", got, err)
	}
}

// TestListedLine: that a line can't be understood comes through the link with its
// parts apart: who may not see the line is told where it stands.
func TestListedLine(t *testing.T) {
	want := &local.LineError{File: "/home/bob/.forward", Line: 3, Quote: `"secret" is no address`}
	f := listedFrame("1", fmt.Errorf("of bob: %w", want))
	got, ok := errors.AsType[*local.LineError](parseListed(f))
	if !ok || *got != *want {
		t.Errorf("%+v came as %+v", want, got)
	}
	if err := fromUser().check(f); err != nil {
		t.Error(err)
	}
	f.fields[4] = "-1"
	if err := parseListed(f); !errors.Is(err, errFrame) {
		t.Errorf("line %q: %v", f.fields[4], err)
	}
}
