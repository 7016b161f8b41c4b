package cmdline

import (
	"strconv"
	"strings"
	"time"
)

// Span reads the time of a flag as sendmail 8 does: numbers with s, m, h, d or
// w, one after the other, which are added up, to at most a century. A bare
// number is minutes. ok is false for any other text.
func Span(text string) (sum time.Duration, ok bool) {
	const most = 100 * 365 * 24 * time.Hour
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	for rest := text; rest != ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.Atoi(rest[:digits])
		unit := time.Minute
		if rest = rest[digits:]; rest != "" {
			unit = units[rest[0]]
			rest = rest[1:]
		}
		if err != nil || unit == 0 || time.Duration(n) > most/unit {
			return 0, false
		}
		if sum += time.Duration(n) * unit; sum > most {
			return 0, false
		}
	}
	return sum, true
}
