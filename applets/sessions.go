package applets

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postoffice/applets/client"
	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/applets/sysexits"
)

var sessionsApplet = cmdline.Applet{
	Name:  "sessions",
	Usage: "[--json] [end id ...]",
	Short: "show who is connected to the mail server, and end sessions",
	Run:   runSessions,
}

func runSessions(ctx context.Context, env *cmdline.Env) error {
	asJSON := env.Flags.Bool("json", false, "one JSON object per session")
	if err := env.Parse(); err != nil {
		return err
	}
	switch {
	case len(env.Args) > 0 && env.Args[0] != "end":
		return cmdline.Usagef("no command %.40q; sessions are shown without one", env.Args[0])
	case len(env.Args) == 1:
		return cmdline.Usagef("end needs the IDs of sessions")
	}
	for _, id := range env.Args[min(1, len(env.Args)):] {
		if noID(id) {
			return cmdline.Usagef("%.40q is no session's ID", id)
		}
	}
	return client.AtServer(ctx, env, func(request func(func(*control.Client) error) error) error {
		if len(env.Args) > 0 {
			return endSessions(ctx, env, request, *asJSON)
		}
		show, showFilter := sessionsText(env, time.Now()), filtersText(env, time.Now())
		if *asJSON {
			show = func(s control.Session) error { return cmdline.PrintJSON(env.Stdout, s) }
			showFilter = func(f control.Filter) error { return cmdline.PrintJSON(env.Stdout, f) }
		}
		err := request(func(c *control.Client) error {
			return eachOf(func(each func(control.Session) bool) error { return c.Sessions(ctx, each) }, show)
		})
		if err != nil {
			return err
		}
		return request(func(c *control.Client) error {
			return eachOf(func(each func(control.Filter) bool) error { return c.Filters(ctx, each) }, showFilter)
		})
	})
}

// eachOf shows what is asked for, until that can't be written.
func eachOf[T any](ask func(each func(T) bool) error, show func(T) error) error {
	var failed error
	err := ask(func(one T) bool {
		failed = show(one)
		return failed == nil
	})
	if failed != nil {
		return fmt.Errorf("write the list: %w", failed)
	}
	return err
}

// sessionsText prints a session a line, below a line of headings.
func sessionsText(env *cmdline.Env, now time.Time) func(control.Session) error {
	const line = "%-11s %-9s %7s %7s %8s  %s\n"
	first := true
	return func(s control.Session) error {
		if first {
			first = false
			if _, err := fmt.Fprintf(env.Stdout, line, "ID", "State", "For", "Age", "Octets", "Client"); err != nil {
				return err
			}
		}
		who := s.Client
		if s.QueueID != "" {
			who += " qid=" + s.QueueID
		}
		if s.TLS != "" {
			who += fmt.Sprintf(" tls=%q", s.TLS)
		}
		if s.Helo != "" { // it may look like anything, and so stands behind all else
			who += " helo=" + s.Helo
		}
		_, err := fmt.Fprintf(env.Stdout, line, cmdline.Printed(s.ID), cmdline.Printed(s.State), ago(now, s.Since), ago(now, s.Begun), strings.TrimRight(sizeText(s.Received), " "), cmdline.Printed(who))
		return err
	}
}

// filtersText prints a mail filter a line, below a line of headings.
func filtersText(env *cmdline.Env, now time.Time) func(control.Filter) error {
	const line = "%-20s %-6s %8s %7s %7s %8s %5s%s\n"
	first := true
	return func(f control.Filter) error {
		if first {
			first = false
			if _, err := fmt.Fprintf(env.Stdout, line, "Filter", "State", "Messages", "Refused", "Edited", "Failures", "Open", ""); err != nil {
				return err
			}
		}
		why := ""
		switch {
		case !f.Until.IsZero():
			why = fmt.Sprintf("  left alone for %s more: %s", ago(f.Until, now), f.Reason)
		case f.Reason != "":
			why = "  " + f.Reason
		}
		_, err := fmt.Fprintf(env.Stdout, line, cmdline.Printed(f.Name), cmdline.Printed(f.State), fmt.Sprint(f.Messages), fmt.Sprint(f.Refused), fmt.Sprint(f.Edited), fmt.Sprint(f.Failures), fmt.Sprint(f.Connections), cmdline.Printed(why))
		return err
	}
}

// ago is how long something has lasted, in seconds.
func ago(now, since time.Time) string {
	return max(now.Sub(since), 0).Truncate(time.Second).String()
}

// endSessions ends them one after the other and tells each outcome.
func endSessions(ctx context.Context, env *cmdline.Env, request func(func(*control.Client) error) error, asJSON bool) error {
	code := sysexits.OK
	for _, id := range env.Args[1:] {
		o := outcomeOf(request(func(c *control.Client) error { return c.EndSession(ctx, id) }))
		code = max(code, o.Code)
		var err error
		switch {
		case asJSON:
			o.ID, o.Action = id, control.EndSession
			err = cmdline.PrintJSON(env.Stdout, o)
		case !o.OK:
			env.Say(fmt.Sprintf("end: %.40s: %s", id, o.Error))
		default:
			_, err = fmt.Fprintf(env.Stdout, "%s: ended\n", id)
		}
		if err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	if code != sysexits.OK {
		return cmdline.ExitWith(code, cmdline.ErrAnswered)
	}
	return nil
}

var limitsApplet = cmdline.Applet{
	Name:  "limits",
	Usage: "[--json]",
	Short: "show who comes too fast and is refused for a while",
	Run:   runLimits,
}

func runLimits(ctx context.Context, env *cmdline.Env) error {
	asJSON := env.Flags.Bool("json", false, "one JSON object per limit")
	if err := env.Parse(); err != nil {
		return err
	}
	if len(env.Args) > 0 {
		return cmdline.Usagef("limits takes no arguments, got %.40q", env.Args[0])
	}
	return client.AtServer(ctx, env, func(request func(func(*control.Client) error) error) error {
		show := limitsText(env, time.Now())
		if *asJSON {
			show = func(l control.Limit) error { return cmdline.PrintJSON(env.Stdout, l) }
		}
		return request(func(c *control.Client) error {
			return eachOf(func(each func(control.Limit) bool) error { return c.Limits(ctx, each) }, show)
		})
	})
}

// limitsText prints a limit a line, below a line of headings.
func limitsText(env *cmdline.Env, now time.Time) func(control.Limit) error {
	const line = "%-20s %8s %8s  %s\n"
	first := true
	return func(l control.Limit) error {
		if first {
			first = false
			if _, err := fmt.Fprintf(env.Stdout, line, "Network", "Refused", "Wait", "Why"); err != nil {
				return err
			}
		}
		why := fmt.Sprintf("more than %d %s in %v (option %s)", l.Most, l.What, time.Duration(l.Seconds)*time.Second, l.Option)
		_, err := fmt.Fprintf(env.Stdout, line, cmdline.Printed(l.Network), fmt.Sprint(l.Refused), ago(l.Until, now), cmdline.Printed(why))
		return err
	}
}
