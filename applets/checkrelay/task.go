package checkrelay

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"postoffice/applets/config"
	"postoffice/applets/passwords"
	"postoffice/deliver/routes"
	"postoffice/internal/smarthost"
)

// maxHosts is how many smarthosts are tried: more than a minute is no check any more.
const maxHosts = 50

// A Task is a check with all that it needs of what its own process can't read.
type Task struct {
	Settings []byte // of the configuration
	Hosts    []Host
	Verbose  bool
}

// A Host is a smarthost that is to be tried.
type Host struct {
	Name    string // as relay-host has it
	Where   string // which mail goes there, for people
	Secret  string // the password
	Missing string // why there is no password; "" there is one, or nobody logs in
}

// NewTask prepares the check of a smarthost; "": of all that a configuration names, the
// relay-host and those that lines of routes log in at. It reads the passwords.
func NewTask(ctx context.Context, conf *config.Config, only string, verbose bool) (Task, error) {
	t := Task{Settings: conf.Encode(), Verbose: verbose}
	if name := cmp.Or(only, conf.RelayHost); name != "" {
		h, err := smarthost.Parse(name)
		if err != nil {
			return t, fmt.Errorf("relay-host: %w", err)
		}
		t.Hosts = append(t.Hosts, Host{Name: h.String(), Where: "Mail for other machines"})
	}
	if only == "" && conf.Routes != "" {
		lines, err := routes.Logins(conf.Routes)
		if err != nil {
			return t, fmt.Errorf("routes: %w", err)
		}
		for _, w := range lines {
			if name := w.Host.String(); len(t.Hosts) == 0 || name != t.Hosts[0].Name {
				t.Hosts = append(t.Hosts, Host{Name: name, Where: fmt.Sprintf("Mail by line %d of %s", w.Line, conf.Routes)})
			}
		}
	}
	switch n := len(t.Hosts); {
	case n == 0:
		return t, errors.New("there is no relay-host, and no line of routes that logs in: mail goes to the servers of each domain")
	case n > maxHosts:
		return t, fmt.Errorf("routes logs in at %d smarthosts, and %d are tried at a time: name one of them", n, maxHosts)
	}
	source := passwords.NewSource(passwords.Options{File: conf.RelayPasswords, Command: conf.RelayPasswordCommand})
	for i := range t.Hosts {
		t.Hosts[i].read(ctx, source)
	}
	return t, nil
}

// read reads the password.
func (h *Host) read(ctx context.Context, source *passwords.Source) {
	at, err := smarthost.Parse(h.Name)
	if err == nil && at.User != "" {
		h.Secret, err = source.Password(ctx, at.Place(), at.User, false)
	}
	if err != nil {
		h.Missing = err.Error()
	}
}

// Password returns the one that was read.
func (h Host) Password(context.Context, string, string, bool) (string, error) {
	if h.Missing != "" {
		return "", errors.New(h.Missing)
	}
	return h.Secret, nil
}
