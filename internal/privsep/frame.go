package privsep

import (
	"encoding/binary"
	"errors"
	"fmt"

	"postoffice/deliver/local"
)

// op says what a frame is about.
type op byte

// What the server tells the master.
const (
	opReady    op = 1 + iota // it answers
	opDone                   // the single pass is over
	opDeliver                // token, user; the pipe with the octets
	opSmall                  // token, user, all octets of a small message
	opRecorded               // token
	opLookup                 // serial, name
	opBroken                 // listener's name
)

// What the master tells the server.
const (
	opSettings op = 64 + iota // the next piece of the settings
	opListener                // name, network, address; the socket
	opSession                 // the socket
	opResult                  // token, status, reply code, reply status, reply text, error
	opStart                   // "pass" or "stay", "attached" or "detached": everything was handed over
	opAccount                 // serial, outcome, name, uid, gid, home, shell, error
	opReload                  // the settings sent last are new ones
	opStop                    // end
)

// Limits of the fields, in octets.
const (
	maxToken   = 128
	maxName    = local.MaxName
	maxNumber  = 20
	maxPath    = 4096
	maxAddress = 512
	maxWords   = 2048     // text for people: cut by the sender
	maxSmall   = 16 << 10 // a message that needs no pipe
	maxPiece   = 32 << 10
	maxFrame   = 1 + 2 + maxPiece // the largest frame: opSettings
)

// shape is what a frame must look like.
type shape struct {
	name   string
	fields []int // the most octets of each
	files  int   // descriptors that come with it
}

// side is a set of frames: those that one end may receive.
type side map[op]shape

// toMaster and toServer are made for each link, not at start-up.

func toMaster() side {
	return side{
		opReady:    {"ready", nil, 0},
		opDone:     {"done", nil, 0},
		opDeliver:  {"deliver", []int{maxToken, maxName}, 1},
		opSmall:    {"deliver", []int{maxToken, maxName, maxSmall}, 0},
		opRecorded: {"recorded", []int{maxToken}, 0},
		opLookup:   {"lookup", []int{maxNumber, maxName}, 0},
		opBroken:   {"broken listener", []int{maxAddress}, 0},
	}
}

func toServer() side {
	return side{
		opSettings: {"settings", []int{maxPiece}, 0},
		opListener: {"listener", []int{maxAddress, maxNumber, maxAddress}, 1},
		opSession:  {"session", nil, 1},
		opResult:   {"result", []int{maxToken, maxNumber, maxNumber, maxNumber, maxWords, maxWords}, 0},
		opStart:    {"start", []int{maxNumber, maxNumber}, 0},
		opAccount:  {"account", []int{maxNumber, maxNumber, maxName, maxNumber, maxNumber, maxPath, maxPath, maxWords}, 0},
		opReload:   {"reload", nil, 0},
		opStop:     {"stop", nil, 0},
	}
}

// frame is one message between the processes: an octet for the op, then each
// field behind its length in two octets.
type frame struct {
	op     op
	fields []string
}

var errFrame = errors.New("bad frame")

// append encodes f behind b. It does not look at limits: decode does.
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
	b = b[1:]
	for i, most := range sh.fields {
		if len(b) < 2 {
			return frame{}, fmt.Errorf("%w: %s: field %d is missing", errFrame, sh.name, i)
		}
		n := int(binary.BigEndian.Uint16(b))
		b = b[2:]
		if n > most || n > len(b) {
			return frame{}, fmt.Errorf("%w: %s: field %d of %d octets, limit %d, %d there", errFrame, sh.name, i, n, most, len(b))
		}
		f.fields = append(f.fields, string(b[:n]))
		b = b[n:]
	}
	if len(b) > 0 {
		return frame{}, fmt.Errorf("%w: %s: %d octets too many", errFrame, sh.name, len(b))
	}
	return f, nil
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
