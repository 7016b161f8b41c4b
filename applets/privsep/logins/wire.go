package logins

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postoffice/applets/smtpd/login"
	"postoffice/internal/sasl"
)

const (
	maxPacket    = 16 << 10        // octets of a message
	maxOpen      = 256             // exchanges that are open at once
	maxSite      = maxOpen / 2     // of them of one site
	exchangeWait = 6 * time.Minute // for one of them as a whole: a client has the option timeout for an answer
	maxWords     = 20              // mechanisms
)

// verb is what a message is.
type verb byte

const (
	begin      verb = 1 + iota // a number, who asks, and the mechanism
	step                       // a number, and what the client said
	end                        // a number: nothing comes for it any more
	mechanisms                 // which are there?
)

// What a begin says of the client in one octet.
const (
	underTLS = 1 << iota // login.Client.TLS
	among                // login.Client.Among
)

var errForm = errors.New("not of a form that is sent")

// question is a message of the server's.
type question struct {
	verb      verb
	number    uint32
	mechanism string
	client    login.Client
	said      []byte // nil is nothing
}

// answer is one to step, or to mechanisms.
type answer struct {
	number     uint32
	kind       login.Answer
	challenge  []byte
	user       string
	err        string
	mechanisms []login.Mechanism
}

// some stands before the name of a mechanism that not every account can use.
const some = "?"

// field appends octets with their length.
func field(b, f []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(f))), f...)
}

// fields reads n of them, all of b.
func fields(b []byte, n int) ([]string, error) {
	all := make([]string, 0, n)
	for range n {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return nil, fmt.Errorf("message that breaks off: %w", errForm)
		}
		size := 2 + int(binary.BigEndian.Uint16(b))
		all, b = append(all, string(b[2:size])), b[size:]
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("octets behind the message: %w", errForm)
	}
	return all, nil
}

// append encodes q behind b.
func (q question) append(b []byte) []byte {
	b = append(b, byte(q.verb))
	b = binary.BigEndian.AppendUint32(b, q.number)
	switch q.verb {
	case begin:
		flags := byte(0)
		if q.client.TLS {
			flags |= underTLS
		}
		if q.client.Among {
			flags |= among
		}
		b = append(b, flags)
		bindings := q.client.Bindings[:min(len(q.client.Bindings), sasl.MaxBindings)]
		b = append(b, byte(len(bindings)))
		for _, f := range []string{q.mechanism, addrText(q.client.Addr), addrText(q.client.Server), q.client.Session} {
			b = field(b, []byte(f))
		}
		for _, x := range bindings {
			b = field(field(b, []byte(x.Name)), x.Data)
		}
	case step:
		flags := byte(0)
		if q.said != nil {
			flags = 1
		}
		b = field(append(b, flags), q.said)
	}
	return b
}

func addrText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// decodeQuestion reads a question, all of b.
func decodeQuestion(b []byte) (q question, err error) {
	if len(b) < 5 || len(b) > maxPacket {
		return q, fmt.Errorf("question of %d octets: %w", len(b), errForm)
	}
	q.verb, q.number = verb(b[0]), binary.BigEndian.Uint32(b[1:])
	rest := b[5:]
	if q.verb == end || q.verb == mechanisms {
		if len(rest) > 0 {
			return q, fmt.Errorf("octets behind the message: %w", errForm)
		}
		return q, nil
	}
	if len(rest) == 0 || rest[0] > 1 && q.verb != begin || rest[0] > underTLS|among || q.verb != begin && q.verb != step {
		return q, fmt.Errorf("verb %d: %w", q.verb, errForm)
	}
	if q.verb == step {
		f, err := fields(rest[1:], 1)
		switch {
		case err != nil:
			return q, err
		case rest[0] == 1:
			q.said = []byte(f[0])
		case f[0] != "":
			return q, fmt.Errorf("octets where there are none: %w", errForm)
		}
		return q, nil
	}
	if len(rest) < 2 || rest[1] > sasl.MaxBindings {
		return q, fmt.Errorf("bindings of a login: %w", errForm)
	}
	f, err := fields(rest[2:], 4+2*int(rest[1]))
	if err != nil {
		return q, err
	}
	q.mechanism = f[0]
	q.client = login.Client{Session: f[3], TLS: rest[0]&underTLS != 0, Among: rest[0]&among != 0}
	for bound := range slices.Chunk(f[4:], 2) {
		q.client.Bindings = append(q.client.Bindings, sasl.Binding{Name: bound[0], Data: []byte(bound[1])})
	}
	for i, to := range []*netip.AddrPort{&q.client.Addr, &q.client.Server} {
		if text := f[1+i]; text != "" {
			if *to, err = netip.ParseAddrPort(text); err != nil || to.String() != text {
				return q, fmt.Errorf("address of a client: %w", errForm)
			}
		}
	}
	return q, nil
}

// append encodes a behind b, with as much of the words for the log as has a form.
func (a answer) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, a.number)
	b = append(b, byte(a.kind), byte(len(a.mechanisms)))
	b = field(field(b, a.challenge), []byte(a.user))
	b = field(b, []byte(a.err[:min(len(a.err), 1000)]))
	for _, m := range a.mechanisms {
		word := m.Name
		if m.Some {
			word = some + word
		}
		b = field(b, []byte(word))
	}
	return b
}

// decodeAnswer reads an answer, all of b, and its number.
func decodeAnswer(b []byte) (number uint32, a answer, err error) {
	if len(b) < 6 || len(b) > maxPacket || b[5] > maxWords {
		return 0, a, fmt.Errorf("answer of %d octets: %w", len(b), errForm)
	}
	a.number, a.kind = binary.BigEndian.Uint32(b), login.Answer(b[4])
	f, err := fields(b[6:], 3+int(b[5]))
	if err != nil {
		return 0, a, err
	}
	a.challenge, a.user, a.err = []byte(f[0]), f[1], f[2]
	for _, word := range f[3:] {
		name, part := strings.CutPrefix(word, some)
		if name == "" || strings.HasPrefix(name, some) {
			return 0, a, fmt.Errorf("mechanism %q: %w", word, errForm)
		}
		a.mechanisms = append(a.mechanisms, login.Mechanism{Name: name, Some: part})
	}
	if a.kind > login.Unknown || a.user == "" && a.kind == login.Yes || len(a.challenge) > 0 && a.kind != login.Asks {
		return 0, a, fmt.Errorf("answer of the kind %d: %w", a.kind, errForm)
	}
	return a.number, a, nil
}
