package local

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"postoffice/internal/alias"
)

// startable says why the program that g names would not be started, as far as
// that can be told without starting it. A file is taken to be writable.
func (p *Person) startable(ctx context.Context, g Listing) error {
	t, own, err := p.item(ctx, Job{User: g.User, Item: g.Item, Envelope: Envelope{Extension: g.Extension}})
	switch {
	case err != nil || t.Kind == alias.File:
		return err
	case t.Kind != alias.Program:
		return fmt.Errorf("%v of %s is no list and no program", t, g.Item.Name)
	}
	c, words, err := p.command(t.Text, own)
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
		return fmt.Errorf("start %s as %s: %w", c.path, p.o.Account.Name, err)
	}
	return nil
}

// command is the program of an alias, or one that the user named himself; words
// say what it means that it may not run.
func (p *Person) command(text string, own bool) (c command, words string, err error) {
	a := p.o.Account
	if own {
		if err := loginShell(a.Name, a.Shell, p.o.Shells); err != nil {
			return c, "this user may run no programs", err
		}
	}
	c, err = newCommand(text, p.o.ProgramDir)
	return c, "this program may not run", err
}
