package testfilter

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
)

// A Packet is one that a mail server sent to a Filter: a command of the
// milter protocol, and its data.
type Packet struct {
	Command byte
	Data    string
}

// String is the command and its data, quoted.
func (p Packet) String() string { return fmt.Sprintf("%c %q", p.Command, p.Data) }

// A Filter is a mail filter that does what a test says, and misbehaves if it says so.
// It may serve many connections at once. The zero Filter speaks version 6, wants
// everything, may do everything, and says continue.
type Filter struct {
	Version  uint32 // 0: 6
	Actions  uint32 // SMFIF bits; 0: all that it was offered
	Protocol uint32 // SMFIP bits: what it doesn't want or answer
	Lists    string // behind the three words of its answer: its lists of macros
	// Answers has what it writes for a command, octet for octet, instead of continue:
	// Reply and others make them. "" is nothing at all. 'O' is the negotiation.
	Answers map[byte]string
	// Answer, if it isn't nil, is asked first; ok says that it has answered.
	Answer func(p Packet) (octets string, ok bool)
	// Hangs has the commands behind which it writes its answer and then nothing more,
	// until the server closes; what it reads it forgets.
	Hangs string
	// Stops has the commands behind which it writes its answer and then doesn't even
	// read, until Released is closed.
	Stops    string
	Released <-chan struct{}
	// Closes has the commands behind which it writes its answer and closes.
	Closes string
	// Forgets has it keep nothing for Seen.
	Forgets bool
	// Write writes the answers; nil: at once.
	Write func(conn net.Conn, octets string) error

	mu   sync.Mutex
	seen []Packet
}

// Reply is a packet of a filter's: a code, and its data.
func Reply(code byte, data string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))) + string(code) + data
}

// Number is a number as packets have it.
func Number(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// Seen returns the packets that came on all connections so far, without the
// negotiations.
func (f *Filter) Seen() []Packet {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}

// Commands are the commands of Seen in one string, without those in leaveOut.
func (f *Filter) Commands(leaveOut string) string {
	var b strings.Builder
	for _, p := range f.Seen() {
		if strings.IndexByte(leaveOut, p.Command) < 0 {
			b.WriteByte(p.Command)
		}
	}
	return b.String()
}

// Serve speaks to one server until that closes, or the filter does, and returns what
// went wrong with what the server sent: nil where every packet was one.
func (f *Filter) Serve(conn net.Conn) error {
	defer conn.Close()
	for {
		p, err := readPacket(conn)
		if err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if p.Command != 'O' && !f.Forgets {
			f.mu.Lock()
			f.seen = append(f.seen, p)
			f.mu.Unlock()
		}
		if err := f.answer(conn, p); err != nil {
			return nil // the server went away
		}
		switch {
		case strings.IndexByte(f.Hangs, p.Command) >= 0:
			io.Copy(io.Discard, conn)
			return nil
		case strings.IndexByte(f.Stops, p.Command) >= 0:
			<-f.Released
			return nil
		case strings.IndexByte(f.Closes, p.Command) >= 0, p.Command == 'Q':
			return nil
		}
	}
}

// readPacket reads a packet of the server's.
func readPacket(r io.Reader) (Packet, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Packet{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > 1<<20 {
		return Packet{}, fmt.Errorf("the server sent a packet of %d octets", n)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return Packet{}, fmt.Errorf("in a packet of %d octets: %w", n, err)
	}
	return Packet{data[0], string(data[1:])}, nil
}

// answer writes what is to be said to a packet.
func (f *Filter) answer(conn net.Conn, p Packet) error {
	octets, ok := "", false
	if f.Answer != nil {
		octets, ok = f.Answer(p)
	}
	if !ok {
		octets, ok = f.Answers[p.Command]
	}
	if !ok {
		octets = f.usual(p)
	}
	if octets == "" {
		return nil
	}
	if f.Write != nil {
		return f.Write(conn, octets)
	}
	_, err := io.WriteString(conn, octets)
	return err
}

// usual is what a filter says that has nothing to say.
func (f *Filter) usual(p Packet) string {
	switch p.Command {
	case 'O':
		return f.negotiation(p)
	case 'D', 'A', 'Q', 'K':
		return ""
	}
	// A step that was agreed to have no answer.
	mum := map[byte]uint32{'C': 1 << 12, 'H': 1 << 13, 'M': 1 << 14, 'R': 1 << 15, 'T': 1 << 16,
		'U': 1 << 17, 'N': 1 << 18, 'B': 1 << 19, 'L': 1 << 7}
	if f.Protocol&mum[p.Command] != 0 {
		return ""
	}
	return Reply('c', "")
}

// negotiation is the filter's answer to the server's offer.
func (f *Filter) negotiation(p Packet) string {
	version, actions := f.Version, f.Actions
	if version == 0 {
		version = 6
	}
	if actions == 0 && len(p.Data) >= 12 {
		actions = binary.BigEndian.Uint32([]byte(p.Data)[4:])
	}
	return Reply('O', Number(version)+Number(actions)+Number(f.Protocol)+f.Lists)
}
