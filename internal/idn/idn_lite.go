//go:build lite

package idn

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// AsLogin returns the name of an account in the form in which logins compare it. Without
// the tables of Unicode that is as it came.
func AsLogin(name string) string { return name }

// ToASCII returns a domain outside ASCII with A-labels (RFC 5891). Without the
// tables of Unicode it can do no more than lower the case: the letters must be
// composed, as keyboards make them. The error is for what can't be a domain.
func ToASCII(domain string) (string, error) {
	if !utf8.ValidString(domain) {
		return "", errors.New("a domain that is not UTF-8")
	}
	labels := strings.Split(strings.Map(lower, domain), ".")
	for i, label := range labels {
		switch {
		case label == "":
			return "", errors.New("an empty label")
		case strings.IndexFunc(label, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0:
			labels[i] = "xn--" + punycode([]rune(label))
		}
	}
	return strings.Join(labels, "."), nil
}

// lower is the letter that a letter is the same as; the ideographic full stop is
// a dot (RFC 5895).
func lower(r rune) rune {
	if r == '\u3002' {
		return '.'
	}
	return unicode.ToLower(r)
}

// The parameters of RFC 3492 section 5.
const (
	punyBase    = 36
	punyMin     = 1
	punyMax     = 26
	punySkew    = 38
	punyDamp    = 700
	punyBias    = 72
	punyInitial = 0x80
)

// punycode encodes a label (RFC 3492 section 6.3).
func punycode(label []rune) string {
	var out []byte
	for _, r := range label {
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
		}
	}
	basic := len(out)
	if basic > 0 {
		out = append(out, '-')
	}
	n, delta, bias := rune(punyInitial), 0, punyBias
	for done := basic; done < len(label); n++ {
		next := rune(utf8.MaxRune)
		for _, r := range label {
			if r >= n {
				next = min(next, r)
			}
		}
		delta += int(next-n) * (done + 1)
		n = next
		for _, r := range label {
			switch {
			case r < n:
				delta++
			case r == n:
				out = punyNumber(out, delta, bias)
				done++
				bias = punyAdapt(delta, done, done == basic+1)
				delta = 0
			}
		}
		delta++
	}
	return string(out)
}

// punyNumber adds a number of variable length (section 3.3).
func punyNumber(out []byte, number, bias int) []byte {
	const digits = "abcdefghijklmnopqrstuvwxyz0123456789"
	for k := punyBase; ; k += punyBase {
		t := min(max(k-bias, punyMin), punyMax)
		if number < t {
			return append(out, digits[number])
		}
		out = append(out, digits[t+(number-t)%(punyBase-t)])
		number = (number - t) / (punyBase - t)
	}
}

// punyAdapt is section 6.1.
func punyAdapt(delta, points int, first bool) int {
	if first {
		delta /= punyDamp
	} else {
		delta /= 2
	}
	delta += delta / points
	k := 0
	for delta > (punyBase-punyMin)*punyMax/2 {
		delta /= punyBase - punyMin
		k += punyBase
	}
	return k + (punyBase-punyMin+1)*delta/(delta+punySkew)
}
