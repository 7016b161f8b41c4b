package maillog

import (
	"fmt"
	"log/slog"
	"strconv"
	"time"
)

// field is an attribute in its printed form, not yet escaped.
type field struct {
	key  string
	text string
	bare bool // a number or a truth value: no quotes in JSON, never cut
}

// newField prints v: times to the second, lengths of time in seconds.
func newField(key string, v slog.Value) field {
	switch v.Kind() {
	case slog.KindInt64, slog.KindUint64, slog.KindBool:
		return field{key, v.String(), true}
	case slog.KindDuration:
		return field{key, strconv.FormatFloat(float64(v.Duration().Microseconds())/1e6, 'f', -1, 64), true}
	case slog.KindTime:
		return field{key, v.Time().Format(time.RFC3339), false}
	case slog.KindAny:
		return field{key, fmt.Sprint(v.Any()), false}
	}
	return field{key, v.String(), false}
}

// format is what a line looks like.
type format struct {
	program string
	pid     int
	json    bool
	syslog  bool // with the header of RFC 3164 section 4.1 in front
}

// cuts are the lengths to which values are cut, one after the other, until
// the line fits.
var cuts = []int{MaxLine, 400, 200, 100, 50}

// line is one event as a line with its newline, MaxLine octets at most. Where
// cutting the values doesn't do, the last fields go: the first say most.
func (f *format) line(t time.Time, level slog.Level, msg string, fields []field) []byte {
	for _, most := range cuts {
		if line := f.build(t, level, msg, fields, most); len(line) <= MaxLine {
			return line
		}
	}
	for n := len(fields) - 1; n >= 0; n-- {
		short := append(fields[:n:n], field{"cut", "true", true})
		if line := f.build(t, level, msg, short, cuts[len(cuts)-1]); len(line) <= MaxLine {
			return line
		}
	}
	return nil // not reached: a name and a message of 50 octets fit
}

// lineStart is the room that a line begins with: most have no more octets.
const lineStart = 384

func (f *format) build(t time.Time, level slog.Level, msg string, fields []field, most int) []byte {
	b := make([]byte, 0, lineStart)
	if f.syslog {
		b = fmt.Appendf(b, "<%d>%s ", mailFacility|severity(level), t.Format(time.Stamp))
		b = fmt.Appendf(appendEscaped(b, f.program, 50), "[%d]: ", f.pid)
	}
	if f.json {
		b = f.appendJSON(b, t, level, msg, fields, most)
	} else {
		b = f.appendText(b, t, level, msg, fields, most)
	}
	return append(b, '\n')
}

// appendText writes `TIME PROGRAM[PID] LEVEL: MESSAGE key=value …`; for syslog
// the message alone, with the level only where someone should look.
func (f *format) appendText(b []byte, t time.Time, level slog.Level, msg string, fields []field, most int) []byte {
	if !f.syslog {
		b = t.AppendFormat(b, "2006-01-02T15:04:05.000Z07:00 ")
		b = appendEscaped(b, f.program, 50)
		b = append(strconv.AppendInt(append(b, '['), int64(f.pid), 10), "] "...)
	}
	if !f.syslog || level != slog.LevelInfo {
		b = append(append(b, levelWord(level)...), ": "...)
	}
	b = appendEscaped(b, msg, most)
	for _, fd := range fields {
		b = append(b, ' ')
		b = appendEscaped(b, fd.key, 50)
		b = append(b, '=')
		b = appendValue(b, fd.text, most)
	}
	return b
}

// appendJSON writes one object. What is escaped reads \xNN in the decoded
// string, the same as in a text log.
func (f *format) appendJSON(b []byte, t time.Time, level slog.Level, msg string, fields []field, most int) []byte {
	b = append(b, `{"time":"`...)
	b = t.AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	b = fmt.Appendf(b, `","level":"%s","prog":`, levelWord(level))
	b = appendString(b, f.program, 50)
	b = fmt.Appendf(b, `,"pid":%d,"msg":`, f.pid)
	b = appendString(b, msg, most)
	for _, fd := range fields {
		b = append(b, ',')
		b = appendString(b, fd.key, 50)
		b = append(b, ':')
		if fd.bare {
			b = append(b, fd.text...)
			continue
		}
		b = appendString(b, fd.text, most)
	}
	return append(b, '}')
}

func levelWord(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "error"
	case level >= slog.LevelWarn:
		return "warning"
	case level >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}

// mailFacility is LOG_MAIL of RFC 3164 section 4.1.1, shifted.
const mailFacility = 2 << 3

func severity(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return 3
	case level >= slog.LevelWarn:
		return 4
	case level >= slog.LevelInfo:
		return 6
	}
	return 7
}
