package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/server"
	"postoffice/applets/sysexits"
	"postoffice/internal/alias"
	"postoffice/internal/smtp"
)

// warnOfAliases says on standard error that the database of aliases is older than
// its text, or can't be used: that may be why somebody has no alias. Whoever
// may not read it isn't told.
func warnOfAliases(env *cmdline.Env) {
	conf, err := env.Config()
	if err != nil {
		return
	}
	if err := server.Aliases(conf).Problem(); err != nil && !errors.Is(err, fs.ErrPermission) {
		env.Say("warning: " + err.Error())
	}
}

// checkAliases tells what is wrong with the alias file, which is an error, and
// what is odd about it and its database.
func checkAliases(env *cmdline.Env, conf *config.Config) error {
	path := conf.Aliases
	warnOfAliases(env)
	if err := alias.Open(path).Usable(); err != nil && !errors.Is(err, fs.ErrPermission) {
		return cmdline.ExitWith(sysexits.DataErr, cmdline.ErrAnswered)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && server.MayServe(conf) {
		return nil // it is told of where it is missed
	}
	text, err := openAliases(conf)
	if errors.Is(err, fs.ErrPermission) {
		env.Say("warning: " + err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	defer text.close()
	if text.file == nil {
		return nil
	}
	if info, err := text.file.Stat(); err == nil && os.Getuid() == 0 {
		text.mode(env, info.Mode())
	}
	circles, useless := circlesOf(conf), false
	err = text.each(env, func(e alias.Entry) error {
		circles.Add(e)
		useless = text.remark(env, e) || useless
		return nil
	})
	if err != nil {
		return err
	}
	text.tellCircles(env, conf, circles)
	if useless {
		return cmdline.ExitWith(sysexits.DataErr, cmdline.ErrAnswered)
	}
	return nil
}

// circlesOf finds circles among the aliases of a configuration.
func circlesOf(conf *config.Config) *alias.Finder {
	names := append([]string{conf.Hostname, "localhost"}, conf.LocalDomains...)
	return &alias.Finder{Local: func(domain string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return smtp.EqualFold(name, domain) })
	}}
}

// tellCircles tells of aliases that lead back to themselves, which have gone
// into f. The file is read once more if there may be some.
func (a *aliasText) tellCircles(env *cmdline.Env, conf *config.Config, f *alias.Finder) {
	if a.virtual {
		return // its bare names are of another domain than the Finder's
	}
	lines := f.Suspects()
	if len(lines) == 0 {
		return
	}
	again, err := openAliases(conf)
	if err != nil {
		return
	}
	defer again.close()
	var suspects []alias.Entry
	err = again.each(env, func(e alias.Entry) error {
		if lines[e.Line] {
			suspects = append(suspects, e)
		}
		return nil
	})
	if err != nil { // it was changed meanwhile
		return
	}
	for _, c := range f.Find(suspects) {
		what := "whoever else is named there gets the mail"
		if c.Alone {
			what = "nobody else is named there, and mail for it waits"
		}
		env.Say(fmt.Sprintf("%s:%d: alias %s leads back to itself: %s: %s", a.path, c.Line, cmdline.Printed(c.Names[0]), cmdline.Printed(strings.Join(c.Names, " -> ")), what))
	}
}

// mode says who should be able to read and write the alias file of a server of
// root's, aliases(5).
func (a *aliasText) mode(env *cmdline.Env, m fs.FileMode) {
	if m&0o022 != 0 {
		env.Say(fmt.Sprintf("warning: others may write %s (%v): no program, file or list that it names is used; chmod go-w it", a.path, m))
	}
	if m&0o004 == 0 {
		env.Say(fmt.Sprintf("warning: server-user and default-user may not read %s (%v); chmod a+r it", a.path, m))
	}
}

// remark tells of an alias that can't do what its author thinks. waits says that mail
// for it waits until that is mended.
func (a *aliasText) remark(env *cmdline.Env, e alias.Entry) (waits bool) {
	if strings.Contains(e.Name, "@") {
		env.Say(fmt.Sprintf("%s:%d: alias %s is never used: names of aliases have no domain", a.path, e.Line, e.Name))
	}
	for _, t := range e.Targets {
		if t.Kind == alias.Include && !filepath.IsAbs(t.Text) {
			env.Say(fmt.Sprintf("%s:%d: alias %s: %s: mail for it waits: want an absolute path", a.path, e.Line, e.Name, t))
			waits = true
		}
	}
	return waits
}
