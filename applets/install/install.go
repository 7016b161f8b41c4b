package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postoffice/applets/cmdline"
	"postoffice/applets/install/plan"
	"postoffice/applets/sysexits"
)

// Install takes sendmail's place, and Uninstall gives it back. running reports whether a
// server of ours answers here.
func Install(running func(context.Context, *cmdline.Env) bool) cmdline.Applet {
	return cmdline.Applet{
		Name:  "install",
		Usage: "[--root dir] [--prefix dir] [--links hard|symbolic] [--mailer-conf file] [--dry-run]",
		Short: "install this program in sendmail's place",
		Run: func(ctx context.Context, env *cmdline.Env) error {
			w, dry, err := parse(env)
			if err != nil {
				return err
			}
			w.ours = w.root == "" && running(ctx, env)
			return install(ctx, env, w, dry)
		},
	}
}

// Uninstall gives sendmail's place back to what was there.
var Uninstall = cmdline.Applet{
	Name:  "uninstall",
	Usage: "[--root dir] [--prefix dir] [--links hard|symbolic] [--mailer-conf file] [--dry-run]",
	Short: "take back what install did",
	Run: func(ctx context.Context, env *cmdline.Env) error {
		w, dry, err := parse(env)
		if err != nil {
			return err
		}
		return uninstall(ctx, env, w, dry)
	},
}

// parse reads the flags, which both have.
func parse(env *cmdline.Env) (w wish, dry bool, err error) {
	dir := env.Flags.String("root", "/", "`dir` the root to install in, as that of a device or a container")
	prefix := env.Flags.String("prefix", "/usr/local", "`dir` where the program and its names are, in sbin and bin")
	links := env.Flags.String("links", "symbolic", "`hard|symbolic` what its names are")
	env.Flags.StringVar(&w.mailerConf, "mailer-conf", "", "`file` the mailwrapper's, instead of the system's")
	env.Flags.BoolVar(&dry, "dry-run", false, "say what would be done, and do nothing")
	if err := env.Parse(); err != nil {
		return w, dry, err
	}
	switch {
	case len(env.Args) > 0:
		return w, dry, cmdline.Usagef("no argument %.40q is known", env.Args[0])
	case *links != "hard" && *links != "symbolic":
		return w, dry, cmdline.Usagef("--links=%.40s: want hard or symbolic", *links)
	}
	for _, name := range []*string{prefix, &w.mailerConf} {
		if *name != "" && !filepath.IsAbs(*name) {
			return w, dry, cmdline.Usagef("%.80q: want an absolute path, of the root that is installed in", *name)
		}
	}
	w.prefix, w.hard = filepath.Clean(*prefix), *links == "hard"
	if w.prefix == "/" {
		w.prefix = ""
	}
	at, err := filepath.Abs(*dir)
	if err != nil {
		return w, dry, err
	}
	if at, err = filepath.EvalSymlinks(at); err != nil {
		return w, dry, cmdline.ExitWith(sysexits.NoInput, fmt.Errorf("--root=%.80s: %w", *dir, err))
	}
	if at != "/" {
		w.root = root(at)
	}
	return w, dry, nil
}

// mayChange refuses whoever can't change this machine.
func mayChange(w wish, dry bool, verb string) error {
	if dry || w.root != "" || os.Geteuid() == 0 {
		return nil
	}
	return cmdline.ExitWith(sysexits.NoPerm, fmt.Errorf("only root may %s here", verb), "run it by sudo; --dry-run says what it would do")
}

func install(ctx context.Context, env *cmdline.Env, w wish, dry bool) error {
	if err := mayChange(w, dry, "install"); err != nil {
		return err
	}
	record, err := readRecord(w.root)
	if err != nil {
		return err
	}
	facts, err := look(ctx, w, record)
	if err != nil {
		return err
	}
	if facts.Self, err = selfSum(); err != nil {
		return err
	}
	steps, refused := plan.Install(facts)
	if err := recordable(w.root); err != nil && !facts.Bare {
		return cmdline.ExitWith(sysexits.Unavailable, err)
	}
	if len(refused) > 0 {
		env.Say("nothing was installed:")
		for _, r := range refused {
			env.Report(cmdline.ExitWith(sysexits.Unavailable, errors.New(r.What), r.Do))
		}
		return cmdline.ExitWith(sysexits.Unavailable, cmdline.ErrAnswered)
	}
	all, kept := plan.Merged(record, steps), facts.Bare || dry
	for _, s := range steps {
		if !kept && s.Do != plan.Group && s.Do != plan.User && s.Do != plan.Dir {
			kept = true
			if err := writeRecord(w.root, all); err != nil {
				return fmt.Errorf("keep a record of what is done: %w", err)
			}
		}
		if _, err := fmt.Fprintln(env.Stdout, cmdline.Printed(s.String())); err != nil {
			return err
		}
		if dry {
			continue
		}
		if err := w.root.carry(ctx, s, env.Stderr); err != nil {
			return cmdline.ExitWith(sysexits.OSErr, fmt.Errorf("%v: %w", s, err),
				"what was done before stays; mend it and install again, or take all back: postoffice uninstall")
		}
	}
	if dry || facts.Bare {
		return nil
	}
	_, err = fmt.Fprint(env.Stdout, next(facts))
	return err
}

// next is what to do behind an installation.
func next(f *plan.Facts) string {
	first := "postoffice is installed.\n"
	if f.Live {
		first = "postoffice runs, and takes mail of this machine.\n"
	}
	return first + `
Next, in ` + plan.Config + `, of which docs/start.md and postoffice.cf(5) say more:
  mail for elsewhere   relay-host = submissions://USER@SERVER, as your provider says;
                       then postoffice check-relay
  mail for a domain    local-domains = DOMAIN, and take the line listen out
  root's mail          a line "root: NAME" in /etc/aliases
and then, as root, postoffice config --check and postoffice restart.
`
}

func uninstall(ctx context.Context, env *cmdline.Env, w wish, dry bool) error {
	if err := mayChange(w, dry, "uninstall"); err != nil {
		return err
	}
	record, err := readRecord(w.root)
	if err != nil {
		return err
	}
	if len(record) == 0 && w.root != "" && !w.root.has("/etc/passwd") {
		return unpack(ctx, env, w, dry)
	}
	if len(record) == 0 {
		return cmdline.ExitWith(sysexits.Unavailable, errors.New("nothing was installed here by postoffice install: there is no "+plan.Record),
			"what a package installed is removed as a package; what was put there by hand, by hand")
	}
	if !dry {
		if err := writeRecord(w.root, record); err != nil { // whoever can't write there can't remove it either
			return fmt.Errorf("keep a record of what is taken back: %w", err)
		}
	}
	undo, stays := plan.Uninstall(record)
	failed, err := takeBack(ctx, env, w.root, undo, dry)
	if err != nil {
		return err
	}
	if len(stays) > 0 {
		env.Say("the queue and the accounts stay, since mail may be theirs: " + strings.Join(stays, ", "))
		env.Say("hint: where mailq showed nothing: rm -r " + plan.QueueDir + "; userdel " + plan.ServerUser + "; userdel " + plan.AliasUser)
	}
	if failed {
		return cmdline.ExitWith(sysexits.OSErr, cmdline.ErrAnswered)
	}
	return nil
}

// unpack removes what was gathered for a package, where nothing else is.
func unpack(ctx context.Context, env *cmdline.Env, w wish, dry bool) error {
	facts, err := look(ctx, w, nil)
	if err != nil {
		return err
	}
	steps, _ := plan.Install(facts)
	undo, _ := plan.Uninstall(steps)
	if failed, err := takeBack(ctx, env, w.root, undo, dry); err != nil || !failed {
		return err
	}
	return cmdline.ExitWith(sysexits.OSErr, cmdline.ErrAnswered)
}

// takeBack undoes steps, and keeps the record of those that it could not.
func takeBack(ctx context.Context, env *cmdline.Env, r root, undo []*plan.Step, dry bool) (failed bool, err error) {
	program := r.placed(undo)
	var left []*plan.Step
	for _, s := range undo {
		if s.Do == plan.Dir && s.Path == plan.StateDir && !dry && len(left) == 0 {
			if err := r.forget(); err != nil {
				return true, err
			}
		}
		if _, err := fmt.Fprintln(env.Stdout, cmdline.Printed(s.Undoing())); err != nil {
			return false, err
		}
		if dry {
			continue
		}
		err := r.undo(ctx, s, program)
		if kept := (keptError{}); errors.As(err, &kept) {
			env.Say(kept.why)
		} else if err != nil {
			env.Say(err.Error())
			left = append(left, s)
		}
	}
	switch {
	case dry:
		return false, nil
	case len(left) == 0:
		return false, r.forget()
	}
	slices.Reverse(left)
	return true, writeRecord(r, left)
}

// forget removes the record.
func (r root) forget() error {
	at, err := r.at(plan.Record)
	if err != nil {
		return err
	}
	return ignoreMissing(os.Remove(at))
}
