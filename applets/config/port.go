package config

import "strconv"

// portValue is a switch for a port, or the number of another one.
type portValue struct {
	scalar
	p   *int // 0 is off
	def int
}

func flagOrPort(p *int, def int) value { return portValue{p: p, def: def} }

func (v portValue) want() string { return "yes, no or a port" }

func (v portValue) String() string {
	if *v.p == 0 {
		return "no"
	}
	return strconv.Itoa(*v.p)
}

func (v portValue) set(s string) error {
	if n, err := strconv.ParseUint(s, 10, 16); err == nil && n > 1 {
		*v.p = int(n)
		return nil
	}
	on := false
	if err := (flagValue{p: &on}).set(s); err != nil || len(s) > 1 && digit(s[0]) {
		return wrong(v, s)
	}
	if *v.p = 0; on {
		*v.p = v.def
	}
	return nil
}
