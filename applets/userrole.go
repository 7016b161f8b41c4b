package applets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"postoffice/deliver/local"
	"postoffice/internal/config"
	"postoffice/internal/disk"
	"postoffice/internal/privsep"
	"postoffice/internal/sysexits"
)

// userSettings is what a user's process is told of the configuration. Its user
// can read it: no secret may be in it.
type userSettings struct {
	Aliases     string
	Usermap     []string
	Mailer      string
	DefaultUser string
	ProgramDir  string
	ProgramTime time.Duration
}

// userOptions is what the master needs for users' processes.
func userOptions(ctx context.Context, conf *config.Config) (privsep.UserOptions, error) {
	nobody, err := defaultUser(ctx, conf)
	if err != nil {
		return privsep.UserOptions{}, err
	}
	data, err := json.Marshal(userSettings{
		Aliases:     conf.Aliases,
		Usermap:     conf.Usermap,
		Mailer:      conf.Mailer,
		DefaultUser: nobody.Name,
		ProgramDir:  conf.ProgramDir,
		ProgramTime: conf.ProgramTime,
	})
	return privsep.UserOptions{Settings: data, DefaultUser: nobody.Name, RunTime: conf.ProgramTime}, err
}

// defaultUser is the account that runs what aliases name.
func defaultUser(ctx context.Context, conf *config.Config) (local.Account, error) {
	const hint = "option default-user names an account without rights for the programs of aliases, usually nobody"
	a, err := privsep.Names{}.Accounts().Lookup(ctx, conf.DefaultUser)
	switch {
	case errors.Is(err, local.ErrNoUser):
		return a, exitWith(sysexits.Config, fmt.Errorf("there is no account %q for the programs of aliases to run as (option default-user)", conf.DefaultUser), hint)
	case err != nil:
		return a, fmt.Errorf("look up %s (option default-user): %w", conf.DefaultUser, err)
	case a.UID == 0:
		return a, exitWith(sysexits.Config, fmt.Errorf("default-user=%s has uid 0: programs of aliases must not be root's", conf.DefaultUser), hint)
	}
	return a, nil
}

// runUserRole is a user's process of the root tree: it reads his .forward and
// lists, runs his programs and writes his files, each when the master asks.
func runUserRole(ctx context.Context, _ *Env) error {
	link, err := privsep.ConnectUser()
	if err != nil {
		return err
	}
	var s userSettings
	if err := json.Unmarshal(link.Settings(), &s); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	var names privsep.Names
	link.Serve(ctx, local.NewPerson(local.PersonOptions{
		Account:     link.Account(),
		DefaultUser: s.DefaultUser,
		Accounts:    names.Accounts(),
		NameOf:      names.NameOf,
		Aliases:     s.Aliases,
		Usermap:     s.Usermap,
		Mailer:      s.Mailer,
		ProgramDir:  s.ProgramDir,
		ProgramTime: s.ProgramTime,
		FS:          disk.OS(),
	}))
	return nil
}
