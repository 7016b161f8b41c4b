package applets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/policy"
	"postoffice/applets/preflight"
	"postoffice/applets/server"
	"postoffice/applets/sysexits"
	"postoffice/deliver/masquerade"
	"postoffice/deliver/routes"
	"postoffice/internal/smtp"
	"postoffice/vhost"
)

var configApplet = cmdline.Applet{
	Name:  "config",
	Usage: "[--check] [--json] [name ...]",
	Short: "show and check the configuration",
	Run:   runConfig,
}

func runConfig(ctx context.Context, env *cmdline.Env) error {
	check := env.Flags.Bool("check", false, "print no option, only what is wrong; exit 0 if nothing is")
	asJSON := env.Flags.Bool("json", false, "one JSON object per option")
	table := env.Flags.Bool("mdoc", false, "print the option list of postoffice.cf(5)")
	once := env.Flags.Bool("mdoc-once", false, "print the list in smtpd(8) of what is read at the start alone")
	_ = env.Flags.MarkHidden("mdoc")
	_ = env.Flags.MarkHidden("mdoc-once")
	if err := env.Parse(); err != nil {
		return err
	}
	switch {
	case *table:
		_, err := fmt.Fprint(env.Stdout, config.Mdoc())
		return err
	case *once:
		_, err := fmt.Fprint(env.Stdout, config.MdocOnce())
		return err
	}
	conf, confErr := env.Config()
	if confErr != nil && (*check || doubtful(confErr, env.Args)) {
		return confErr
	}
	settings, err := chosen(conf, env.Args)
	if err != nil {
		return err
	}
	if confErr != nil {
		env.Report(confErr)
	}
	if *check {
		return checkConfig(ctx, env, conf)
	}
	show := func(s config.Setting) error {
		_, err := fmt.Fprintf(env.Stdout, "%-40s # %s\n", s.Name+"="+s.Value, s.Origin)
		return err
	}
	if out := json.NewEncoder(env.Stdout); *asJSON {
		show = func(s config.Setting) error { return out.Encode(s) }
	}
	for _, s := range settings {
		if err := show(s); err != nil {
			return fmt.Errorf("show the configuration: %w", err)
		}
	}
	return nil
}

// doubtful says whether what is wrong with the configuration may concern one of
// the named options. Where none is named, all are.
func doubtful(confErr error, names []string) bool {
	all := config.Errors(nil)
	if !errors.As(confErr, &all) || len(names) == 0 {
		return true
	}
	return slices.ContainsFunc(all, func(e *config.Error) bool {
		return e.Option == "" || slices.ContainsFunc(names, func(name string) bool { return config.Index(name) == config.Index(e.Option) })
	})
}

// chosen picks the settings that are named, all that are in use where none is.
func chosen(conf *config.Config, names []string) ([]config.Setting, error) {
	if len(names) == 0 {
		return conf.Shown(), nil
	}
	all := conf.Settings()
	var some []config.Setting
	for _, name := range names {
		i := config.Index(name)
		if i >= 0 {
			some = append(some, all[i])
			continue
		}
		text := fmt.Sprintf("no option %q", name)
		if near := config.Nearest(name); near != "" {
			text += "; did you mean " + near + "?"
		}
		return nil, cmdline.ExitWith(sysexits.Usage, fmt.Errorf("%s", strings.TrimSpace(text)))
	}
	return some, nil
}

// checkConfig is config --check for a configuration that can be read: what would
// keep the server from starting, or mail from being delivered, and what is odd.
func checkConfig(ctx context.Context, env *cmdline.Env, conf *config.Config) error {
	wrong, notes := server.CheckCertificates(conf)
	for _, f := range server.Findings(ctx, conf) {
		if f.Gravity == preflight.Odd {
			notes = append(notes, strings.TrimSuffix("warning: "+f.Err.Error()+"; "+f.Hint(), "; "))
			continue
		}
		wrong = append(wrong, f.Err)
	}
	if !server.MayServe(conf) {
		notes = append(notes, "note: who may not start the server can't check its directories and ports: run this as root")
	}
	for _, err := range wrong {
		env.Report(err)
	}
	for _, text := range notes {
		env.Say(text)
	}
	warnOfMailbox(env, conf)
	if os.Getuid() == 0 || !server.MayServe(conf) { // a private server runs all as its user
		for _, what := range []string{server.SharedUser(ctx, conf), server.Exposed()} {
			if what != "" {
				env.Say("warning: " + what)
			}
		}
	}
	for _, text := range server.LeftQueues(conf) {
		env.Say("warning: " + text)
	}
	tellNotes(env, conf)
	err := checkHosts(env, conf)
	if more := checkAliases(env, conf); err == nil {
		err = more
	} else if more != nil && !errors.Is(more, cmdline.ErrAnswered) {
		env.Report(more)
	}
	if len(wrong) == 0 {
		return err
	}
	if err != nil && !errors.Is(err, cmdline.ErrAnswered) {
		env.Report(err)
	}
	return cmdline.ExitWith(sysexits.Config, cmdline.ErrAnswered)
}

// warnOfMailbox tells of a file in home directories that is a Maildir by its name,
// or at the caller's, where no message can be written to it.
func warnOfMailbox(env *cmdline.Env, conf *config.Config) {
	name, ok := strings.CutPrefix(conf.Mailbox, "~/")
	if !ok || strings.HasSuffix(name, "/") {
		return
	}
	maildir := smtp.EqualFold(strings.TrimPrefix(filepath.Base(name), "."), "maildir")
	if me, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil && !maildir {
		info, err := os.Stat(filepath.Join(me.HomeDir, name))
		maildir = err == nil && info.IsDir()
	}
	if maildir {
		env.Say("warning: mailbox=" + conf.Mailbox + " is one file, and mail waits where a directory has that name; a Maildir has a slash behind it: mailbox=" + conf.Mailbox + "/")
	}
}

// tellNotes tells of what an old file has that nothing uses, or that is something else
// today.
func tellNotes(env *cmdline.Env, conf *config.Config) {
	for _, text := range conf.Odd() {
		env.Say("note: " + text)
	}
	for _, n := range slices.Concat(conf.Missed(), conf.Changed()) {
		env.Say("note: " + n.Where + ": " + n.Option + ": " + n.Text)
	}
}

// checkHosts tells what is wrong in hosts.allow, hosts.deny and the files that checkLines
// has, and why the server can't read them, or the lines of its greeting. A line that
// doesn't count, or asks for a command, is an error.
func checkHosts(env *cmdline.Env, conf *config.Config) error {
	bad := false
	for i, path := range []string{conf.HostsAllow, conf.HostsDeny} {
		err := server.AsServer(conf, func() error {
			problems, err := policy.CheckHosts(path, i == 1, conf.Named([]string{"hosts-allow", "hosts-deny"}[i]))
			for _, p := range problems {
				text := fmt.Sprintf("%s:%d: %v", path, p.Line, p.Err)
				if !p.Fatal {
					text = "warning: " + text
				}
				env.Say(text)
				bad = bad || p.Fatal
			}
			return err
		})
		if err != nil {
			env.Say("warning: " + err.Error())
			bad = bad || !errors.Is(err, fs.ErrPermission) || os.Getuid() == 0 // which the server may have
		}
	}
	if err := server.AsServer(conf, func() error { return policy.CheckBanner(conf.Banner) }); err != nil {
		env.Say("warning: " + err.Error())
	}
	if checkLines(env, conf) {
		bad = true
	}
	if bad {
		return cmdline.ExitWith(sysexits.DataErr, cmdline.ErrAnswered)
	}
	return nil
}

// checkLines tells of the lines that can't be understood in files that are made of lines,
// as the server reads them, and reports whether there are some.
func checkLines(env *cmdline.Env, conf *config.Config) (bad bool) {
	for _, f := range []struct {
		path  string
		check func(path string, tell func(line int, what string)) error
	}{
		{conf.SenderLogins, policy.CheckSenders}, {conf.Routes, routes.Check}, {conf.SenderMap, masquerade.Check},
	} {
		err := server.AsServer(conf, func() error {
			return f.check(f.path, func(line int, what string) {
				env.Say(fmt.Sprintf("%s:%d: %s", f.path, line, what))
				bad = true
			})
		})
		if err != nil {
			env.Say("warning: " + err.Error())
		}
	}
	if conf.VHostDir == "" {
		return bad
	}
	if err := server.AsServer(conf, vhost.OpenDomains(conf.VHostDir).Problem); err != nil {
		env.Say(err.Error())
		bad = true
	}
	return bad
}
