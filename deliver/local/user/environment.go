package user

import (
	"os"
	"strings"

	"postoffice/deliver/local"
	"postoffice/internal/account"
	"postoffice/internal/smtp"
)

// programPath is where programs find others, and where a command without a
// slash is looked for.
const programPath = "/usr/local/bin:/usr/bin:/bin"

// environment is all that a program is told, aliases(5). What comes from the
// message is made harmless (A20).
func environment(a account.Account, shell string, e local.Envelope) []string {
	env := []string{
		"PATH=" + programPath,
		"HOME=" + a.Home,
		"SHELL=" + shell,
		"USER=" + a.Name,
		"LOGNAME=" + a.Name,
		"LANG=C",
		"SENDER=" + noOption(harmless(e.Sender.String())),
		"RECIPIENT=" + noOption(harmless(e.Recipient.String())),
		"LOCAL=" + noOption(harmless(e.Recipient.Local)),
		"DOMAIN=" + noOption(harmless(e.Recipient.Domain)),
		"EXTENSION=" + noOption(harmless(e.Extension)),
		"QUEUE_ID=" + noOption(harmless(e.QueueID)),
	}
	if zone, ok := os.LookupEnv("TZ"); ok {
		env = append(env, "TZ="+zone)
	}
	return env
}

// harmless replaces every octet that a careless script could take for
// something else than a part of an address.
func harmless(s string) string {
	return smtp.Masked(s, '_', func(c byte) bool { return isAlnum(c) || strings.IndexByte("@._+=:/-", c) >= 0 })
}

// noOption replaces a "-" at the start: scripts give such words to other
// programs.
func noOption(s string) string {
	if strings.HasPrefix(s, "-") {
		return "_" + s[1:]
	}
	return s
}

func isAlnum(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' }
