package privsep

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// frame is one message between the processes: an octet for the op, then each
// field behind its length in two octets.
type frame struct {
	op     op
	fields []string
}

var errFrame = errors.New("bad frame")

// append encodes f behind b. It does not look at limits: check and decode do.
func (f frame) append(b []byte) []byte {
	b = append(b, byte(f.op))
	for _, s := range f.fields {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return b
}

// decode reads one frame, all of b. What it accepts has the fields of its op,
// each within its limit, and nothing behind them.
func (s side) decode(b []byte) (frame, error) {
	if len(b) == 0 {
		return frame{}, fmt.Errorf("%w: empty", errFrame)
	}
	f := frame{op: op(b[0])}
	sh, ok := s[f.op]
	if !ok {
		return frame{}, fmt.Errorf("%w: unknown op %d", errFrame, f.op)
	}
	rest := string(b[1:]) // the fields are parts of it
	f.fields = make([]string, 0, len(sh.fields))
	for i, most := range sh.fields {
		if len(rest) < 2 {
			return frame{}, fmt.Errorf("%w: %s: field %d is missing", errFrame, sh.name, i)
		}
		n := int(rest[0])<<8 | int(rest[1])
		rest = rest[2:]
		if n > most || n > len(rest) {
			return frame{}, fmt.Errorf("%w: %s: field %d of %d octets, limit %d, %d there", errFrame, sh.name, i, n, most, len(rest))
		}
		f.fields = append(f.fields, rest[:n])
		rest = rest[n:]
	}
	if rest != "" {
		return frame{}, fmt.Errorf("%w: %s: %d octets too many", errFrame, sh.name, len(rest))
	}
	return f, nil
}

// check says why the other end, which may receive s, would not take f.
func (s side) check(f frame) error {
	sh, ok := s[f.op]
	if !ok || len(f.fields) != len(sh.fields) {
		return fmt.Errorf("%w: op %d with %d fields can't be sent", errFrame, f.op, len(f.fields))
	}
	for i, most := range sh.fields {
		if n := len(f.fields[i]); n > most {
			return fmt.Errorf("%w: %s: field %d of %d octets can't be sent, limit %d", errFrame, sh.name, i, n, most)
		}
	}
	return nil
}

// clip cuts text for people to what a frame can hold.
func clip(s string) string { return s[:min(len(s), maxWords)] }

// checkToken says why t can't name a delivery.
func checkToken(t string) error {
	if t == "" || len(t) > maxToken {
		return fmt.Errorf("token of %d octets, want 1 to %d", len(t), maxToken)
	}
	for _, c := range []byte(t) {
		if c <= ' ' || c >= 0x7f {
			return fmt.Errorf("token with the octet %q", c)
		}
	}
	return nil
}
