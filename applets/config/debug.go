package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// DebugLines are the configuration as the verb DEBUG of SMTP shows it, under the names
// that it had there: numbers in octets and seconds, switches as T and NIL. What may
// name files and programs, and who is trusted, is shown where inside is set.
func (c *Config) DebugLines(inside bool) []string {
	flag := func(on bool) string {
		if on {
			return "T"
		}
		return "NIL"
	}
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
	var lines []string
	add := func(name, value string) { lines = append(lines, name+": "+value) }
	if c.Immediate {
		add("Immediate", "T")
	}
	if c.HostsAllow != "" || c.HostsDeny != "" {
		add("Tcp-Wrappers", "T")
	}
	if c.Greylist == GreylistOn {
		what := "IP"
		if c.GreylistFrom {
			what = "from-address"
		}
		add("Greylist", what)
	}
	if inside {
		for _, entry := range c.Usermap {
			pattern, targets, _ := strings.Cut(entry, ":")
			add("User map", "("+pattern+") to ("+targets+")")
		}
		for _, name := range c.Trusted {
			add("Trusted IP", name)
		}
	}
	if c.Coal > 0 {
		add("Coal", "T")
	}
	add("size", strconv.FormatInt(c.Size, 10))
	add("minfree", strconv.FormatInt(c.MinFree, 10))
	if c.AV != "" && inside {
		add("AV program", c.AV)
	}
	add("spam", c.Spam.shown(inside))
	add("forbidden", c.Forbidden.shown(inside))
	for _, one := range []struct{ name, value string }{
		{"Timeout", seconds(c.Timeout)}, {"Delay", seconds(c.Delay)}, {"Max clients", strconv.Itoa(c.Clients)}, {"Qreturn", seconds(c.QReturn)},
		{"Verify-from", flag(c.VerifyFrom)}, {"CheckHELO", flag(c.CheckHelo)},
		{"NoDaemon", flag(c.NoDaemon)}, {"LocalMX", flag(c.LocalMX)}, {"Paranoid", flag(c.Paranoid)}, {"Safe", flag(c.Safe)},
		{"MXpool", flag(c.MXPool)}, {"Escape-from", flag(c.EscapeFrom != "no")},
	} {
		add(one.name, one.value)
	}
	return lines
}

// shown is the action as DEBUG shows it.
func (a Action) shown(inside bool) string {
	switch {
	case a.Folder != "" && inside:
		return fmt.Sprintf("folder: %s", a.Folder)
	case a.Folder != "":
		return "folder"
	case a.Take:
		return "accept"
	}
	return "bounce"
}
