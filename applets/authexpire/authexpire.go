package authexpire

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"postoffice/applets/client"
	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/control"
	"postoffice/applets/server"
	"postoffice/applets/smtpd/greylist"
	"postoffice/applets/state"
	"postoffice/internal/smtp"
)

// AuthExpire is authexpire.
var AuthExpire = cmdline.Applet{
	Name:  "authexpire",
	Usage: "[-Enuvz] [--json] [age] | -l [-w] | -a key | -b key | -e key|address|ip",
	Short: "look after the greylist: list, forget, allow and forbid senders",
	Run:   runAuthExpire,
}

// call is one call of authexpire.
type call struct {
	env  *cmdline.Env
	json bool

	expiry                 expiry
	list, wide             bool
	allow, forbid, explain []string
}

func runAuthExpire(ctx context.Context, env *cmdline.Env) error {
	c := &call{env: env}
	f := env.Flags
	f.BoolVarP(&c.expiry.byHand, "forbidden", "E", false, "forget also what was allowed or forbidden by hand, by its last contact")
	f.BoolVarP(&c.expiry.dry, "dry-run", "n", false, "only say what would be forgotten")
	f.BoolVarP(&c.expiry.waiting, "waiting", "u", false, "forget who has not come again after the wait, however short ago")
	f.BoolVarP(&c.expiry.null, "null", "z", false, "forget every null sender, however short ago it came")
	f.BoolVarP(&c.expiry.verbose, "verbose", "v", false, "say what is forgotten, and of how many")
	f.BoolVarP(&c.list, "list", "l", false, "list what is known")
	f.BoolVarP(&c.wide, "wide", "w", false, "with -l: whole keys on a terminal too")
	f.StringArrayVarP(&c.allow, "allow", "a", nil, "`key` let this one pass from now on")
	f.StringArrayVarP(&c.forbid, "forbid", "b", nil, "`key` let this one never pass; -d is the same")
	f.StringArrayVarP(&c.forbid, "deny", "d", nil, "`key` the same as -b")
	f.StringArrayVarP(&c.explain, "explain", "e", nil, "`who` say why this one waits, and until when: a key, an address of mail, or one of a client")
	f.BoolVar(&c.json, "json", false, "one JSON object per record")
	if err := env.Parse(); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	return c.run(ctx)
}

// check holds the flags against each other, and reads the age and the keys.
func (c *call) check() error {
	works := 0
	for _, is := range []bool{c.list, len(c.allow)+len(c.forbid) > 0, len(c.explain) > 0} {
		if is {
			works++
		}
	}
	e := c.expiry
	switch {
	case works > 1:
		return cmdline.Usagef("one of -l, -a or -b, and -e at a time")
	case works == 1 && (e.byHand || e.dry || e.waiting || e.null || e.verbose):
		return cmdline.Usagef("-E, -n, -u, -v and -z are of forgetting: they go with no other work")
	case works == 1 && len(c.env.Args) > 0:
		return cmdline.Usagef("%.40q: an age is of forgetting", c.env.Args[0])
	case len(c.env.Args) > 1:
		return cmdline.Usagef("%.40q: there is one age", c.env.Args[1])
	case c.wide && !c.list:
		return cmdline.Usagef("-w goes with -l")
	}
	for _, key := range append(c.allow, c.forbid...) {
		if err := checkKey(key); err != nil {
			return err
		}
	}
	c.expiry.age = defaultAge
	if works == 0 && len(c.env.Args) == 1 {
		age, ok := readAge(c.env.Args[0])
		if !ok {
			return cmdline.Usagef("bad expire interval %.40q: a number with m, h, d or w behind it, or of seconds, 60 at least", c.env.Args[0])
		}
		c.expiry.age = age
	}
	return nil
}

// checkKey refuses what no contact can have as its key.
func checkKey(key string) error {
	switch key := greylist.Canonical(key); {
	case !strings.Contains(key, "@"):
		return cmdline.Usagef("%.40q is no key: authexpire -l lists those that there are, as user@[ip], and an address of mail is one", key)
	case len(key) > maxKey || cmdline.Printed(key) != key:
		return cmdline.Usagef("%.40q is no key: it is too long, or has characters that no address has", key)
	}
	return nil
}

const (
	maxKey     = 1000                // octets of a key that is named by hand: more than any address has
	defaultAge = 14 * 24 * time.Hour // as the original
	leastAge   = time.Minute         // of a number without a unit, which is mostly one that lacks it
)

// readAge reads the time after which who has not come again is forgotten.
func readAge(text string) (time.Duration, bool) {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		age := time.Duration(n) * time.Second
		return age, age >= leastAge
	}
	number := strings.TrimRight(text, "mhdwMHDW")
	if len(text)-len(number) != 1 || strings.Trim(number, "0123456789") != "" {
		return 0, false
	}
	age, ok := cmdline.Span(smtp.Fold(text))
	return age, ok && age > 0
}

// run does what was asked for with the records, wherever they are.
func (c *call) run(ctx context.Context) error {
	change := !c.list && len(c.explain) == 0 && !c.expiry.dry
	return client.AtStore(ctx, c.env, change, func(part func(string) control.Store, conf *config.Config) error {
		records := part(state.Greylist)
		now := time.Now()
		out := &printer{env: c.env, json: c.json}
		switch {
		case c.list:
			return out.list(ctx, records, !c.wide && isTerminal(c.env.Stdout))
		case len(c.allow)+len(c.forbid) > 0:
			return out.decide(ctx, records, now, c.allow, c.forbid)
		case len(c.explain) > 0:
			c.tellMode(conf)
			return out.explain(ctx, records, part(state.GreylistWritten), now, server.GreylistRules(conf), c.explain)
		}
		return out.expire(ctx, records, now, c.expiry)
	})
}

// tellMode says beside an answer that nobody is kept waiting, if that is so.
func (c *call) tellMode(conf *config.Config) {
	if conf.Greylist != config.GreylistOn {
		c.env.Say("the option greylist is " + conf.Greylist + ": whatever is known, nobody is kept waiting")
	}
}

// printer prints for people or for programs.
type printer struct {
	env  *cmdline.Env
	json bool
}

// show prints a line: the object with --json, else the text.
func (p *printer) show(object any, text string) error {
	var err error
	if p.json {
		err = cmdline.PrintJSON(p.env.Stdout, object)
	} else {
		_, err = io.WriteString(p.env.Stdout, text+"\n")
	}
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
