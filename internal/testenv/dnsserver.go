package testenv

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// DNS is a name server on loopback that answers from a zone in memory, as a
// recursive server would, and misbehaves where a test scripts it to.
type DNS struct {
	addr string
	udp  net.PacketConn
	tcp  net.Listener // nil: UDP only
	done chan struct{}

	close sync.Once
	wg    sync.WaitGroup

	mu      sync.Mutex
	records map[string][]dns.RR // by lower-case name with final dot
	scripts map[string][]Act
	asked   []string
}

// An Exchange is one query and what the zone says to it.
type Exchange struct {
	Query  *dns.Msg
	Answer *dns.Msg // an Act may change it
	TCP    bool
	Done   <-chan struct{} // closed when the server stops

	send  func([]byte)
	forge func([]byte)
}

// An Act answers a query, rightly or wrongly, once, more often, or not at all.
type Act func(*Exchange)

// NewDNS starts a server for UDP and TCP with these records in master-file
// form; the test's end stops it.
func NewDNS(t testing.TB, records ...string) *DNS {
	t.Helper()
	return startDNS(t, true, records)
}

// NewDNSUDPOnly starts one that can't be reached by TCP.
func NewDNSUDPOnly(t testing.TB, records ...string) *DNS {
	t.Helper()
	return startDNS(t, false, records)
}

func startDNS(t testing.TB, tcp bool, records []string) *DNS {
	t.Helper()
	d := &DNS{done: make(chan struct{}), records: map[string][]dns.RR{}, scripts: map[string][]Act{}}
	if err := d.listen(tcp); err != nil {
		t.Fatalf("start a DNS server: %v", err)
	}
	d.Add(records...)
	d.wg.Go(d.serveUDP)
	if tcp {
		d.wg.Go(d.serveTCP)
	}
	t.Cleanup(d.Close)
	return d
}

// listen takes one port for both transports. The UDP port of a number that was
// free for TCP may be taken, so it tries a few.
func (d *DNS) listen(tcp bool) (err error) {
	for range 20 {
		if d.udp, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			return err
		}
		d.addr = d.udp.LocalAddr().String()
		if !tcp {
			return nil
		}
		if d.tcp, err = net.Listen("tcp", d.addr); err == nil {
			return nil
		}
		d.udp.Close()
	}
	return err
}

// Close stops the server and waits for its goroutines. It may be called again.
func (d *DNS) Close() {
	d.close.Do(func() {
		close(d.done)
		d.udp.Close()
		if d.tcp != nil {
			d.tcp.Close()
		}
	})
	d.wg.Wait()
}

// Addr is the server's host:port.
func (d *DNS) Addr() string { return d.addr }

// Add adds records in master-file form. A bad one panics: tests write them.
func (d *DNS) Add(records ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, text := range records {
		rr := RR(text)
		name := strings.ToLower(rr.Header().Name)
		d.records[name] = append(d.records[name], rr)
	}
}

// Remove forgets all records of name.
func (d *DNS) Remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.records, strings.ToLower(dns.Fqdn(name)))
}

// Script sets what happens to the question, written as "MX example.org", or to
// all for "": one act for each query that comes, the last of them for all
// later ones. No acts: the zone answers again.
func (d *DNS) Script(question string, acts ...Act) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scripts[question] = acts
}

// Asked lists the questions that came, as "MX example.org", in their order.
func (d *DNS) Asked() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.asked)
}

// Count says how often question came.
func (d *DNS) Count(question string) int {
	n := 0
	for _, q := range d.Asked() {
		if q == question {
			n++
		}
	}
	return n
}

func (d *DNS) serveUDP() {
	buf := make([]byte, 64<<10)
	for {
		n, peer, err := d.udp.ReadFrom(buf)
		if err != nil {
			return
		}
		query := new(dns.Msg)
		if query.Unpack(buf[:n]) != nil || len(query.Question) != 1 {
			continue
		}
		x := &Exchange{Query: query, Done: d.done}
		x.send = func(b []byte) { d.udp.WriteTo(b, peer) }
		x.forge = func(b []byte) {
			if other, err := net.ListenPacket("udp", "127.0.0.1:0"); err == nil {
				other.WriteTo(b, peer)
				other.Close()
			}
		}
		d.wg.Go(func() { d.reply(x) })
	}
}

func (d *DNS) serveTCP() {
	for {
		conn, err := d.tcp.Accept()
		if err != nil {
			return
		}
		d.wg.Go(func() {
			defer conn.Close()
			d.serveConn(conn)
		})
	}
}

// serveConn answers one query: the resolver uses a connection once.
func (d *DNS) serveConn(conn net.Conn) {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return
	}
	query := new(dns.Msg)
	if query.Unpack(buf) != nil || len(query.Question) != 1 {
		return
	}
	x := &Exchange{Query: query, TCP: true, Done: d.done}
	x.send = func(b []byte) {
		conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	}
	x.forge = func([]byte) {}
	d.reply(x)
}

func (d *DNS) reply(x *Exchange) {
	q := x.Query.Question[0]
	text := dns.TypeToString[q.Qtype] + " " + strings.ToLower(strings.TrimSuffix(q.Name, "."))
	d.mu.Lock()
	d.asked = append(d.asked, text)
	x.Answer = d.lookup(x.Query)
	act := d.next(text)
	d.mu.Unlock()
	act(x)
}

// next takes the act that is due; d.mu is held.
func (d *DNS) next(question string) Act {
	key := question
	if len(d.scripts[key]) == 0 {
		key = ""
	}
	acts := d.scripts[key]
	if len(acts) == 0 {
		return Proper
	}
	if len(acts) > 1 {
		d.scripts[key] = acts[1:]
	}
	return acts[0]
}

// lookup is what the zone says, CNAMEs followed; d.mu is held.
func (d *DNS) lookup(query *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(query)
	m.RecursionAvailable = true
	if opt := query.IsEdns0(); opt != nil {
		m.SetEdns0(1232, false)
	}
	q := query.Question[0]
	name := strings.ToLower(q.Name)
	for range 16 { // a loop of CNAMEs comes out as a long chain
		alias, found := "", false
		for _, rr := range d.records[name] {
			switch h := rr.Header(); {
			case h.Rrtype == q.Qtype:
				m.Answer = append(m.Answer, rr)
				found = true
			case h.Rrtype == dns.TypeCNAME:
				m.Answer = append(m.Answer, rr)
				alias = strings.ToLower(rr.(*dns.CNAME).Target)
			}
		}
		if found {
			return m
		}
		if alias == "" {
			break
		}
		name = alias
	}
	if len(d.records[name]) == 0 {
		m.Rcode = dns.RcodeNameError
	}
	soa, _ := dns.NewRR(". 60 IN SOA ns. hostmaster. 1 3600 600 86400 60")
	m.Ns = []dns.RR{soa}
	return m
}
