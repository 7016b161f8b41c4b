package user

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/alias"
)

// startable says why the program that g names would not be started, as far as
// that can be told without starting it. A file is taken to be writable.
func (u *User) startable(ctx context.Context, g local.Listing) error {
	t, own, err := u.item(ctx, local.Job{User: g.User, Item: g.Item, Envelope: local.Envelope{Extension: g.Extension}})
	switch {
	case err != nil || t.Kind == alias.File:
		return err
	case t.Kind != alias.Program:
		return fmt.Errorf("%v of %s is no list and no program", t, g.Item.Name)
	}
	c, words, err := u.command(t.Text, own)
	if err != nil {
		return fmt.Errorf("%s: %w", words, err)
	}
	info, err := os.Stat(c.path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		err = fmt.Errorf("%s is no file", c.path)
	case err == nil:
		err = unix.Access(c.path, unix.X_OK)
	}
	if err != nil {
		return fmt.Errorf("start %s as %s: %w", c.path, u.o.Account.Name, err)
	}
	return nil
}

// command is the program of an alias, or one that the user named; words
// say what it means that it may not run.
func (u *User) command(text string, own bool) (c command, words string, err error) {
	a := u.o.Account
	if own {
		if err := account.CheckShell(a, u.o.Shells); err != nil {
			return c, "this user may run no programs", err
		}
	}
	c, err = newCommand(text, u.o.ProgramDir)
	return c, "this program may not run", err
}
