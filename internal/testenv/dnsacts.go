package testenv

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// pack gives m's octets.
func pack(m *dns.Msg) []byte {
	b, err := m.Pack()
	if err != nil {
		panic("testenv: pack a DNS answer: " + err.Error())
	}
	return b
}

// Proper answers from the zone; by UDP cut to what the client takes.
func Proper(x *Exchange) {
	if !x.TCP {
		size := dns.MinMsgSize
		if opt := x.Query.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		x.Answer.Truncate(size)
	}
	x.send(pack(x.Answer))
}

// Signed is a server that has checked the signatures, and says so to whoever asks.
func Signed(x *Exchange) {
	x.Answer.AuthenticatedData = x.Query.AuthenticatedData
	Proper(x)
}

// Silent never answers.
func Silent(*Exchange) {}

// Code answers with this RCODE and no records.
func Code(rcode int) Act {
	return func(x *Exchange) {
		m := new(dns.Msg)
		m.SetRcode(x.Query, rcode)
		m.RecursionAvailable = true
		x.send(pack(m))
	}
}

// Servfail and its like are what broken servers say.
var (
	Servfail = Code(dns.RcodeServerFailure)
	Refused  = Code(dns.RcodeRefused)
	Formerr  = Code(dns.RcodeFormatError)
	Empty    = Code(dns.RcodeSuccess) // NOERROR without anything
)

// NoEDNS is a server that doesn't know EDNS0.
func NoEDNS(x *Exchange) {
	if x.Query.IsEdns0() != nil {
		Formerr(x)
		return
	}
	Proper(x)
}

// Truncated says so by UDP, without records, and answers by TCP.
func Truncated(x *Exchange) {
	if !x.TCP {
		x.Answer.Truncated, x.Answer.Answer = true, nil
	}
	x.send(pack(x.Answer))
}

// WrongID answers some other query's number.
func WrongID(x *Exchange) {
	x.Answer.Id++
	x.send(pack(x.Answer))
}

// WrongQuestion answers a question that nobody asked, with the right number
// and an answer that would do.
func WrongQuestion(x *Exchange) {
	m := x.Answer.Copy()
	m.Question[0].Name = "elsewhere.example."
	x.send(pack(m))
}

// WrongSource answers from another port.
func WrongSource(x *Exchange) { x.forge(pack(x.Answer)) }

// Raw answers with these octets behind the query's ID.
func Raw(octets []byte) Act {
	return func(x *Exchange) {
		x.send(append(binary.BigEndian.AppendUint16(nil, x.Query.Id), octets...))
	}
}

// CompressionLoop answers with a name that points to itself.
func CompressionLoop(x *Exchange) {
	q, err := x.Query.Pack()
	if err != nil {
		return
	}
	end := 12 + len(x.Query.Question[0].Name) + 1 + 4 // header and question
	b := append([]byte(nil), q[:end]...)
	b[2] |= 0x80                                 // a response
	binary.BigEndian.PutUint16(b[6:], 1)         // one answer
	binary.BigEndian.PutUint16(b[10:], 0)        // nothing additional
	loop := uint16(0xc000) | uint16(end)         // a pointer to itself
	b = binary.BigEndian.AppendUint16(b, loop)   // its owner
	b = append(b, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4) // A IN 60, four octets
	x.send(append(b, 192, 0, 2, 1))
}

// AliasOnly gives the first CNAME and leaves the rest to the client.
func AliasOnly(x *Exchange) {
	if len(x.Answer.Answer) > 1 {
		x.Answer.Answer = x.Answer.Answer[:1]
	}
	x.Answer.Rcode, x.Answer.Ns = dns.RcodeSuccess, nil
	x.send(pack(x.Answer))
}

// Lame refers to other servers, as one that serves neither name nor client.
func Lame(x *Exchange) {
	m := new(dns.Msg)
	m.SetReply(x.Query)
	x.send(pack(m))
}

// Hold waits for release, then does act.
func Hold(release <-chan struct{}, act Act) Act {
	return func(x *Exchange) {
		select {
		case <-release:
			act(x)
		case <-x.Done:
		}
	}
}

// Then does one act after the other for one query.
func Then(acts ...Act) Act {
	return func(x *Exchange) {
		for _, act := range acts {
			y := *x
			y.Answer = x.Answer.Copy()
			act(&y)
		}
	}
}

// RR reads a record in master-file form; a bad one panics.
func RR(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic("testenv: record " + text + ": " + err.Error())
	}
	return rr
}
