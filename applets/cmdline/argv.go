package cmdline

import (
	"strings"

	"github.com/spf13/pflag"

	"postoffice/applets/config"
)

// SendmailIgnored are the flags of sendmail 8.18 and those that Postfix's and
// OpenSMTPD's sendmail add, as for getopt(3): ":" takes a value, glued or the
// next argument; ";" takes a glued one or none. A flag that an applet defines
// itself is read as it says and this table doesn't matter for it; the others
// are accepted and do nothing.
//
//	A  which configuration (c, m)        m  me too
//	B  body type                         N  notify, RFC 3461
//	b  mode                              n  no aliases
//	c  not connect to slow mailers       O  long option
//	D  file for debugging                o  option
//	d  debugging                         p  protocol and host received from
//	E  only OpenSMTPD                    Q  quarantine reason
//	e  how to report errors              q  run the queue
//	F  full name                         R  how much to return
//	f  sender                            r  sender
//	G  relay (gateway) submission        s  keep From lines
//	h  hops                              T  timeout
//	I  rebuild aliases                   t  recipients from the header
//	i  a dot is no end                   U  initial user submission
//	J  only OpenSMTPD                    V  envelope id
//	L  syslog label                      v  verbose
//	M  macro                             X  log of the traffic
//	S  only OpenSMTPD                    x  only AIX
//
// What stands here for -V is for its value alone: without one it is ours.
const SendmailIgnored = "A:B:b:cD:d;E;e:F:f:Gh:IiJ;L:M:mN:nO:o:p:Q:q;R:r:SsTtUV:vX:x"

// EnvelopeID and DeliveryMode are the long flags that -V with a value and -od
// stand for, where an applet has them.
const (
	EnvelopeID   = "envelope-id"
	DeliveryMode = "delivery-mode"
)

// takes is how a single-letter flag gets its value.
type takes uint8

const (
	nothing  takes = iota
	required       // glued, or the next argument
	glued          // glued or none
)

// normalise rewrites argv so that pflag reads it as sendmail's getopt would:
// each letter on its own, a value as an argument of its own, an optional one
// behind "=". What is to be ignored is left out. After the first operand (with
// classic) or "--" nothing is touched.
func normalise(argv []string, flags *pflag.FlagSet, ignored string, classic bool) ([]string, error) {
	var out []string
	for i := 0; i < len(argv); i++ {
		arg := argv[i]
		switch {
		case arg == "--":
			return append(out, argv[i:]...), nil
		case strings.HasPrefix(arg, "--"):
			out = append(out, arg)
			if longTakesNext(arg[2:], flags) && i+1 < len(argv) {
				i++
				out = append(out, argv[i])
			}
		case len(arg) > 1 && arg[0] == '-':
			words, used, err := cluster(arg[1:], argv[i+1:], flags, ignored, classic)
			if err != nil {
				return nil, err
			}
			out = append(out, words...)
			i += used
		case classic:
			return append(append(out, "--"), argv[i:]...), nil
		default:
			out = append(out, arg)
		}
	}
	return out, nil
}

// longTakesNext says whether --name's value is the next argument.
func longTakesNext(name string, flags *pflag.FlagSet) bool {
	f := flags.Lookup(name)
	return f != nil && f.NoOptDefVal == ""
}

// cluster takes one argument of single-letter flags apart. used counts the
// arguments of rest that belong to it: 0 or 1.
func cluster(letters string, rest []string, flags *pflag.FlagSet, ignored string, classic bool) (words []string, used int, err error) {
	for letters != "" {
		letter := letters[:1]
		letters = letters[1:]
		how, known := takesOf(letter, flags, ignored)
		if !known {
			return nil, 0, Usagef("no flag -%s", letter)
		}
		own := flags.ShorthandLookup(letter) != nil
		switch how {
		case nothing:
			if own {
				words = append(words, "-"+letter)
			}
			continue
		case glued:
			if own {
				words = append(words, optional(letter, letters))
			}
			return words, 0, nil
		}
		value, used, err := valueOf(letter, letters, rest, classic)
		if err != nil {
			return nil, 0, err
		}
		given := used > 0 || letters != ""
		return append(words, withValue(letter, value, given, flags)...), used, nil
	}
	return words, 0, nil
}

// withValue writes a flag that has a value for pflag; nothing where it is to be
// ignored. given is false for -V without a value.
func withValue(letter, value string, given bool, flags *pflag.FlagSet) []string {
	delivery := deliveryOf(letter, value)
	switch {
	case letter == "V" && !given:
		return []string{"-V"}
	case letter == "V":
		return long(EnvelopeID, value, flags)
	case letter == "o" && value == "i" && flags.ShorthandLookup("i") != nil:
		return []string{"-i"} // sendmail's other way to write it
	case delivery != "":
		return long(DeliveryMode, delivery, flags)
	case flags.ShorthandLookup(letter) != nil && !(letter == "o" && foreign(value)):
		return []string{"-" + letter, value}
	}
	return nil
}

// long writes a long flag, if the applet has it.
func long(name, value string, flags *pflag.FlagSet) []string {
	if flags.Lookup(name) == nil {
		return nil
	}
	return []string{"--" + name + "=" + value}
}

// deliveryOf is the letter of sendmail's delivery mode that -odX or
// -ODeliveryMode=X sets, or "".
func deliveryOf(letter, value string) string {
	name, mode, _ := strings.Cut(value, "=")
	switch {
	case letter == "o" && len(value) == 2 && value[0] == 'd':
		mode = value[1:]
	case letter != "O" || !strings.EqualFold(name, "DeliveryMode") || mode == "":
		return ""
	}
	if mode = strings.ToLower(mode[:1]); strings.Contains("bdiq", mode) {
		return mode
	}
	return ""
}

// optional writes a flag with its glued value, if there is one, so that pflag
// doesn't take it for more flags.
func optional(letter, value string) string {
	if value == "" {
		return "-" + letter
	}
	return "-" + letter + "=" + value
}

// valueOf finds the value of a flag that needs one. Only -V may go without,
// at the end or before another flag: then it asks for the version.
func valueOf(letter, glued string, rest []string, classic bool) (value string, used int, err error) {
	switch {
	case glued != "":
		return glued, 0, nil
	case letter == "V" && (len(rest) == 0 || strings.HasPrefix(rest[0], "-")):
		return "", 0, nil
	case len(rest) == 0:
		return "", 0, Usagef("flag -%s needs a value", letter)
	}
	return rest[0], 1, nil
}

// takesOf looks a letter up among the flags that the applet defines, then
// among those it ignores.
func takesOf(letter string, flags *pflag.FlagSet, ignored string) (how takes, known bool) {
	i := strings.Index(ignored, letter)
	if letter == "V" && i >= 0 {
		return required, true
	}
	if f := flags.ShorthandLookup(letter); f != nil {
		switch {
		case f.NoOptDefVal == "":
			return required, true
		case f.Value.Type() == "bool":
			return nothing, true
		}
		return glued, true
	}
	switch {
	case i < 0 || letter == ":" || letter == ";":
		return nothing, false
	case strings.HasPrefix(ignored[i+1:], ":"):
		return required, true
	case strings.HasPrefix(ignored[i+1:], ";"):
		return glued, true
	}
	return nothing, true
}

// foreign says whether -o's value is one of sendmail's settings (-oi, -oem,
// -odb, -oQ/var/spool/mqueue, -oMrSMTP) and none of ours, so that it is
// accepted in silence. A name of ours that is only misspelt stays an error.
func foreign(set string) bool {
	if config.IsOption(set) {
		return false
	}
	name, _, assigned := strings.Cut(set, "=")
	lower := strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") == ""
	if assigned {
		return !lower || len(name) < 2
	}
	return config.Nearest(name) == "" || len(name) < 4
}
