package applets

import (
	"strings"

	"github.com/spf13/pflag"

	"postoffice/internal/smtp"
)

// dsnOptions are sendmail's flags for the parameters of RFC 3461.
type dsnOptions struct {
	notify string // -N
	ret    string // -R
	envid  string // -V
}

func (o *dsnOptions) flags(set *pflag.FlagSet) {
	set.StringVarP(&o.notify, "notify", "N", "", "`WHEN` to report: never, or failure, delay and success with commas")
	set.StringVarP(&o.ret, "return-what", "R", "", "how `MUCH` of the message a report returns: full or hdrs")
	set.StringVar(&o.envid, envelopeID, "", "the envelope's `ID` in reports, also -V ID")
}

// params are those of MAIL and those of each RCPT.
func (o *dsnOptions) params() (ofMail, ofRcpt []smtp.Param, err error) {
	add := func(to *[]smtp.Param, flag, value string, p smtp.Param, err error) error {
		if err == nil {
			err = smtp.CheckDSN(p)
		}
		if err != nil {
			return usageErrorf("-%s %q: %v", flag, value, err)
		}
		*to = append(*to, p)
		return nil
	}
	if o.ret != "" {
		err = add(&ofMail, "R", o.ret, smtp.Param{Name: "RET", Value: strings.ToUpper(o.ret)}, nil)
	}
	if o.envid != "" && err == nil {
		p, bad := smtp.ENVID(o.envid)
		err = add(&ofMail, "V", o.envid, p, bad)
	}
	if o.notify != "" && err == nil {
		err = add(&ofRcpt, "N", o.notify, smtp.Param{Name: "NOTIFY", Value: strings.ToUpper(o.notify)}, nil)
	}
	return ofMail, ofRcpt, err
}
