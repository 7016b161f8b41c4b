package resolver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"postoffice/internal/smtp"
)

const (
	udpSize    = 1232 // what we say in EDNS0: never fragmented (DNS flag day 2020)
	udpBuffer  = 8192 // what we take all the same
	maxProblem = 400  // octets of words about failed tries
)

// question is a name in lower case without its final dot, and a type.
type question struct {
	name  string
	qtype uint16
}

func (q question) String() string { return dns.TypeToString[q.qtype] + " " + q.name }

// errBadAnswer: the server sent octets that are no answer to our question.
var errBadAnswer = errors.New("sent no valid answer")

// ask puts q to the servers in turn until one gives a definite answer. Servers
// that stayed silent are tried again; one that said SERVFAIL is not (R15).
func (r *Resolver) ask(ctx context.Context, q question) (answer, error) {
	start := time.Now()
	conf, changed, err := r.conf.get()
	if err != nil {
		return answer{}, temporary(q, "no name servers known", err)
	}
	if changed {
		r.cache.flush()
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	var said problems
	list := conf.ordered()
	for try := 0; try < conf.attempts && len(list) > 0; try++ {
		var silent []*server
		for _, s := range list {
			if ctx.Err() != nil {
				break
			}
			a, err := askServer(ctx, s, q, conf.try, try == 0)
			if err == nil {
				return a, nil
			}
			said.add(s, err)
			if isTimeout(err) {
				silent = append(silent, s)
			}
		}
		list = silent
	}
	return answer{}, &Error{
		Question: q.String(), Kind: ErrTemporary, Words: said.String(),
		Took: time.Since(start), Cause: errors.Join(context.Cause(ctx), said.last),
	}
}

// problems collects what went wrong with each try.
type problems struct {
	words []string
	last  error
}

func (p *problems) add(s *server, err error) {
	p.last = err
	if isTimeout(err) {
		p.words = append(p.words, s.addr+" did not answer")
		return
	}
	p.words = append(p.words, s.addr+" "+smtp.InWords(err).Error())
}

func (p *problems) String() string {
	if len(p.words) == 0 {
		return "no server was asked in time"
	}
	s := strings.Join(p.words, "; ")
	return s[:min(len(s), maxProblem)]
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// askServer asks one server: by UDP, again without EDNS0 if it doesn't know
// that, and by TCP if the answer was cut.
func askServer(ctx context.Context, s *server, q question, limit time.Duration, edns bool) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	edns = edns && !s.isPlain()
	msg, err := exchange(ctx, "udp", s, q, edns)
	if err == nil && edns && refusesEDNS(msg) {
		s.setPlain()
		msg, err = exchange(ctx, "udp", s, q, false)
	}
	if err == nil && msg.Truncated {
		if msg, err = exchange(ctx, "tcp", s, q, edns && !s.isPlain()); err != nil {
			err = fmt.Errorf("cut its answer, then by TCP: %w", err)
		}
	}
	s.silent(isTimeout(err))
	if err != nil {
		return answer{}, err
	}
	a, err := read(msg, q)
	a.signed = s.trusted && msg.AuthenticatedData
	return a, err
}

// refusesEDNS: the codes of servers that don't know OPT records (RFC 6891
// section 7, and what older ones say).
func refusesEDNS(m *dns.Msg) bool {
	return m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented || m.Rcode == dns.RcodeBadVers
}

// exchange sends one query from a fresh socket and waits for its answer until
// ctx ends. The socket is connected, so the kernel takes datagrams from the
// server's address alone; its port is the kernel's random choice.
func exchange(ctx context.Context, network string, s *server, q question, edns bool) (*dns.Msg, error) {
	query, err := newQuery(q, edns)
	if err != nil {
		return nil, err
	}
	query.AuthenticatedData = s.trusted // asks for that bit alone, without signatures (RFC 6840 section 5.7)
	out, err := query.Pack()
	if err != nil {
		return nil, fmt.Errorf("pack the question: %w", err)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, s.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		return overTCP(conn, query, out)
	}
	return overUDP(conn, query, out)
}

func newQuery(q question, edns bool) (*dns.Msg, error) {
	var id [2]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(q.name), q.qtype)
	m.Id = binary.BigEndian.Uint16(id[:])
	if edns {
		m.SetEdns0(udpSize, false)
	}
	return m, nil
}

var datagrams = sync.Pool{New: func() any { return new([udpBuffer]byte) }}

// overUDP takes the first datagram that answers the question. Datagrams with
// another ID or question are somebody's guesses: the true answer may follow.
func overUDP(conn net.Conn, query *dns.Msg, out []byte) (*dns.Msg, error) {
	if _, err := conn.Write(out); err != nil {
		return nil, err
	}
	space := datagrams.Get().(*[udpBuffer]byte) // Unpack copies what it keeps
	defer datagrams.Put(space)
	buf := space[:]
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if n < 2 || binary.BigEndian.Uint16(buf) != query.Id {
			continue
		}
		m := new(dns.Msg)
		if err := m.Unpack(buf[:n]); err != nil {
			if m.Truncated && isReply(m, query) {
				return m, nil // cut in the middle of a record
			}
			return nil, fmt.Errorf("%w: %v", errBadAnswer, err)
		}
		if isReply(m, query) {
			m.Truncated = m.Truncated || n == len(buf)
			return m, nil
		}
	}
}

func overTCP(conn net.Conn, query *dns.Msg, out []byte) (*dns.Msg, error) {
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(buf); err != nil {
		return nil, fmt.Errorf("%w: %v", errBadAnswer, err)
	}
	if m.Truncated || !isReply(m, query) {
		return nil, errBadAnswer
	}
	return m, nil
}

// isReply reports whether m answers query: ID, direction and question (A63).
// A server that couldn't read the query may leave the question out.
func isReply(m, query *dns.Msg) bool {
	if m.Id != query.Id || !m.Response || m.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(m.Question) == 0 {
		return m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented
	}
	got, want := m.Question[0], query.Question[0]
	return len(m.Question) == 1 && got.Qtype == want.Qtype && got.Qclass == want.Qclass && smtp.EqualFold(got.Name, want.Name)
}
