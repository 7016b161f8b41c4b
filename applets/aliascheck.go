package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"postoffice/internal/alias"
	"postoffice/internal/sysexits"
)

// tellAliases says on standard error that the database of aliases is older than
// its text, or can't be used: that may be why somebody has no alias. Whoever
// may not read it isn't told.
func (e *Env) tellAliases() {
	conf, err := e.Config()
	if err != nil {
		return
	}
	if err := alias.Open(conf.Aliases).Problem(); err != nil && !errors.Is(err, fs.ErrPermission) {
		say(e.Stderr, e.Program, "warning: "+err.Error())
	}
}

// checkAliases tells what is wrong with the alias file, which is an error, and
// what is odd about it and its database.
func checkAliases(env *Env, path string) error {
	env.tellAliases()
	if err := alias.Open(path).Usable(); err != nil && !errors.Is(err, fs.ErrPermission) {
		return exitWith(sysexits.DataErr, errAnswered)
	}
	text, err := openAliases(path)
	if errors.Is(err, fs.ErrPermission) {
		say(env.Stderr, env.Program, "warning: "+err.Error())
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
	return text.each(env, func(e alias.Entry) error { text.remark(env, e); return nil })
}

// mode says who should be able to read and write the alias file of a server of
// root's, aliases(5).
func (a *aliasText) mode(env *Env, m fs.FileMode) {
	if m&0o022 != 0 {
		say(env.Stderr, env.Program, fmt.Sprintf("warning: others may write %s (%v): no program, file or list that it names is used; chmod go-w it", a.path, m))
	}
	if m&0o004 == 0 {
		say(env.Stderr, env.Program, fmt.Sprintf("warning: server-user and default-user may not read %s (%v); chmod a+r it", a.path, m))
	}
}

// remark tells of an alias that can't do what its author thinks.
func (a *aliasText) remark(env *Env, e alias.Entry) {
	if strings.Contains(e.Name, "@") {
		say(env.Stderr, env.Program, fmt.Sprintf("%s:%d: alias %s is never used: names of aliases have no domain", a.path, e.Line, e.Name))
	}
	for _, t := range e.Targets {
		if t.Kind == alias.Include && !filepath.IsAbs(t.Text) {
			say(env.Stderr, env.Program, fmt.Sprintf("%s:%d: alias %s: %s: mail for it waits: want an absolute path", a.path, e.Line, e.Name, t))
		}
	}
}
