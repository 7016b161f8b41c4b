package applets

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"postoffice/deliver/local"
	"postoffice/internal/alias"
	"postoffice/internal/config"
	"postoffice/internal/sysexits"
)

var configApplet = Applet{
	Name:  "config",
	Usage: "[--check] [--json] [NAME ...]",
	Short: "show and check the configuration",
	Run:   runConfig,
}

func runConfig(_ context.Context, env *Env) error {
	check := env.Flags.Bool("check", false, "print nothing; exit 0 if all is well, else 78 or 72")
	asJSON := env.Flags.Bool("json", false, "one JSON object per option")
	table := env.Flags.Bool("mdoc", false, "print the option list of postoffice.cf(5)")
	_ = env.Flags.MarkHidden("mdoc")
	if err := env.Parse(); err != nil {
		return err
	}
	if *table {
		_, err := fmt.Fprint(env.Stdout, config.Mdoc())
		return err
	}
	conf, err := env.Config()
	if err != nil {
		return err
	}
	settings, err := chosen(conf.Settings(), env.Args)
	if err != nil {
		return err
	}
	if *check {
		if _, err := alias.ParseUsermap(conf.Usermap); err != nil {
			return exitWith(sysexits.Config, err, "usermap(7) says how an entry looks; mail that a wrong one may be meant for waits")
		}
		if conf.Mailer != "" {
			if err := local.CheckMailer(conf.Mailer); err != nil {
				return exitWith(sysexits.Config, err, "until it is mended mail for users waits")
			}
		}
		return checkAliases(env, conf.Aliases)
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

// chosen picks the settings that are named, all where none is.
func chosen(all []config.Setting, names []string) ([]config.Setting, error) {
	if len(names) == 0 {
		return all, nil
	}
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
		return nil, exitWith(sysexits.Usage, fmt.Errorf("%s", strings.TrimSpace(text)))
	}
	return some, nil
}
