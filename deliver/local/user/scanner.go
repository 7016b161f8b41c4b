package user

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
)

// A Scanner is a program that looks at mail.
type Scanner struct {
	Command  string        // "" none
	User     string        // the account that it runs as, and nobody else
	Time     time.Duration // after which it is killed with all its processes
	Infected int           // the exit status by which it says that a message is bad
}

// CheckScanner says what is wrong with the command of option av.
func CheckScanner(command string) error {
	_, err := templateWords("av", command)
	return err
}

// scan has the scanner look at a message. Whatever else it ends with than 0 and the status
// that says that the message is bad, the message is to be looked at again (R28).
func (u *User) scan(ctx context.Context, j local.Job) outcome.Outcome {
	s := u.o.Scanner
	words, err := templateWords("av", s.Command)
	if err == nil && s.User != u.o.Account.Name {
		err = fmt.Errorf("the program of option av runs as %s, not as %s", s.User, u.o.Account.Name)
	}
	if err != nil {
		return outcome.Deferral("4.3.5", "the program can't be run", err)
	}
	state, printed, failed := u.execute(ctx, command{path: words[0], args: words}, j, s.Time)
	if failed != nil {
		return *failed
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	switch {
	case !ok || !status.Exited():
	case status.ExitStatus() == 0:
		return outcome.Success("clean")
	case status.ExitStatus() == s.Infected:
		return outcome.Refusal("5.7.1", reason("found bad", printed), errors.New("found bad"))
	default:
		err := fmt.Errorf("program ended with exit code %d", status.ExitStatus())
		return outcome.Deferral("4.3.0", reason(err.Error(), printed), err)
	}
	return ended(state, printed) // a deferral, since it did not exit
}
