package logins

import (
	"context"
	"log/slog"
	"strings"

	"postoffice/applets/logins/dovecot"
	"postoffice/applets/smtpd/login"
	"postoffice/internal/maillog"
)

// Source is what knows accounts.
type Source = login.Source

// Words of option auth.
const (
	Virtual = "virtual"
	System  = "system"
	Dovecot = "dovecot:" // and the path of its socket
)

// Users are the users of virtual domains.
type Users struct {
	Source             // nil: there can be none
	Any    func() bool // whether there is a domain
}

// whenAny are those users where there are domains, and nobody else: domains come and go
// while the server runs.
type whenAny struct{ Users }

func (w whenAny) Mechanisms() []login.Mechanism {
	if !w.Any() {
		return nil
	}
	return w.Source.Mechanisms()
}

// Open returns the source of option auth's words; where there are none it is the users of
// virtual domains, if there are any. system are the accounts of the machine, nil where
// they can't be asked. nil: nobody can log in. What a source can do is asked
// beside that; that it can't be asked is logged.
func Open(ctx context.Context, words []string, users Users, system Source, log *slog.Logger) Source {
	var all []login.Source
	if len(words) == 0 && users.Source != nil {
		return whenAny{users}
	}
	for _, w := range words {
		if w == Virtual && users.Source != nil {
			all = append(all, users.Source)
		}
		if w == System && system != nil {
			all = append(all, system)
		}
		if socket, ok := strings.CutPrefix(w, Dovecot); ok {
			s := dovecot.New(socket)
			all = append(all, s)
			go func() {
				if err := s.Look(ctx); err != nil && ctx.Err() == nil {
					log.LogAttrs(ctx, slog.LevelWarn, "logins not possible now", maillog.Option("auth"), maillog.Err(err))
				}
			}()
		}
	}
	if len(all) == 0 {
		return nil
	}
	return InOrder(all...)
}
