package install

import (
	"errors"
	"io"
	"os"
	"testing"

	"postoffice/applets/install/plan"
)

// TestAnotherProgram: a program that somebody has put in the installed one's place stays and
// isn't run; the names that are the installed one go.
func TestAnotherProgram(t *testing.T) {
	const at = "/usr/sbin/postoffice"
	steps := []*plan.Step{
		{Do: plan.Copy, Path: at, Sum: plan.Sum("ours")},
		{Do: plan.Hard, Path: "/usr/sbin/runq", To: at},
		{Do: plan.Hard, Path: "/usr/sbin/smtpd", To: at},
		{Do: plan.Run, Argv: []string{at, "restart"}, Back: []string{at, "stop"}},
	}
	for _, tt := range []struct {
		there string
		sum   string
		stays []bool // by step: it is said to stay
	}{
		{"ours", steps[0].Sum, []bool{false, false, true, false}},
		{"#!/bin/sh\nexit 1\n", steps[0].Sum, []bool{true, false, true, true}},
		{"from before sums were kept", "", []bool{false, true, true, false}},
	} {
		r := aRoot(t, "usr/sbin/postoffice: "+tt.there, "usr/sbin/runq: ours", "usr/sbin/smtpd: another")
		steps[0].Sum = tt.sum
		program := r.placed(steps)
		for i, s := range steps {
			if s.Do == plan.Run && !tt.stays[i] {
				continue // it would be run
			}
			err := r.undo(t.Context(), s, program)
			if kept := errors.As(err, new(keptError)); kept != tt.stays[i] || err != nil && !kept {
				t.Errorf("%.10q: %v: %v, want it to stay: %v", tt.there, s, err, tt.stays[i])
			}
			if name, err := r.at(s.Path); s.Do != plan.Run && err == nil {
				if _, err := os.Lstat(name); (err == nil) != tt.stays[i] {
					t.Errorf("%.10q: %s: %v, want it to stay: %v", tt.there, s.Path, err, tt.stays[i])
				}
			}
		}
	}
}

// TestSumOfSelf: what is recorded of the program is what is found of its copy.
func TestSumOfSelf(t *testing.T) {
	r := aRoot(t, "usr/")
	sum, err := selfSum()
	if err != nil {
		t.Fatal(err)
	}
	s := &plan.Step{Do: plan.Copy, Path: "/usr/postoffice", Mode: 0o755, Sum: sum}
	if err := r.carry(t.Context(), s, io.Discard); err != nil {
		t.Fatal(err)
	}
	if p := r.placed([]*plan.Step{s}); p.foreign || p.path != s.Path {
		t.Errorf("its own copy is %+v", p)
	}
}
