package hashes

import (
	"strconv"
	"strings"
)

// What one hash may cost.
const (
	MaxMemory = 64 << 20 // octets

	maxArgonWork = 1 << 20   // KiB of memory times rounds of argon2, a second or two
	maxBcrypt    = 14        // the logarithm of bcrypt's rounds, a second
	maxSHARounds = 1_000_000 // rounds of SHA-crypt, a second
	maxYescrypt  = 64        // blocks of yescrypt's r
)

// cost returns the octets of memory that a hash of crypt(3)'s forms takes to compare, and
// ErrCost where that, or the time, is too much.
func cost(value string) (memory int64, err error) {
	parts := strings.Split(value, "$")
	switch {
	case strings.HasPrefix(value, "$argon2") && len(parts) == 6:
		return argonCost(parts[3])
	case strings.HasPrefix(value, "$2") && len(parts) == 4:
		if n, err := strconv.Atoi(parts[2]); err != nil || n > maxBcrypt {
			return 0, ErrCost
		}
		return 8 << 10, nil
	case strings.HasPrefix(value, sha256Prefix) || strings.HasPrefix(value, sha512Prefix):
		if r, ok := strings.CutPrefix(parts[2], roundsWord); ok {
			if n, err := strconv.Atoi(r); err != nil || n > maxSHARounds {
				return 0, ErrCost
			}
		}
		return 8 << 10, nil
	case strings.HasPrefix(value, "$y$") && len(parts) == 5:
		ln, r, err := yescryptSetting(parts[2])
		switch {
		case err != nil || ln <= 0 || r <= 0:
			return 0, ErrForm
		case r > maxYescrypt || ln > 24 || int64(128*r)<<ln > MaxMemory:
			return 0, ErrCost
		}
		return int64(128*r) << ln, nil
	case strings.HasPrefix(value, "$1$"):
		return 8 << 10, nil
	}
	return 0, ErrForm
}

// argonCost reads m=…,t=…,p=….
func argonCost(params string) (int64, error) {
	var m, t int64
	for _, p := range strings.Split(params, ",") {
		name, text, _ := strings.Cut(p, "=")
		n, err := strconv.ParseInt(text, 10, 32)
		switch {
		case err != nil || n <= 0:
			return 0, ErrForm
		case name == "m":
			m = n
		case name == "t":
			t = n
		case name == "p" && n > 16:
			return 0, ErrCost
		}
	}
	switch {
	case m == 0 || t == 0:
		return 0, ErrForm
	case m<<10 > MaxMemory || m*t > maxArgonWork:
		return 0, ErrCost
	}
	return m << 10, nil
}
