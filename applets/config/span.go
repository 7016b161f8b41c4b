package config

import (
	"strconv"
	"time"
)

// flagSpan is a switch for a time, or another time.
type flagSpan struct {
	scalar
	p             *time.Duration // 0 is off
	def, min, max time.Duration
}

// flagOrSpan takes no value below min, which is more than a second: 1 is yes.
func flagOrSpan(p *time.Duration, def, min, max time.Duration) value {
	return flagSpan{p: p, def: def, min: min, max: max}
}

func (v flagSpan) want() string { return "yes, no or a time such as 30m" }

func (v flagSpan) String() string {
	if *v.p == 0 {
		return "no"
	}
	return spanValue{p: v.p}.String()
}

func (v flagSpan) set(s string) error {
	on, n := false, 0
	err := (flagValue{p: &on}).set(s)
	if err == nil {
		n, _ = strconv.Atoi(s) // 0 of a word
	}
	switch _, isSpan := tagged(s, spanTags, int64(time.Second)); {
	case err == nil && n < 2 && on:
		*v.p = v.def
	case err == nil && n < 2:
		*v.p = 0
	case !isSpan:
		return wrong(v, s)
	default:
		return spanValue{p: v.p, min: v.min, max: v.max}.set(s)
	}
	return nil
}
