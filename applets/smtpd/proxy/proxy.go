package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxLine = 107     // octets of a header of version 1 with its line end (section 2.1)
	maxRest = 4 << 10 // octets of one of version 2 behind its first 16: addresses, and what else the proxy knows
)

// signature begins a header of version 2 (section 2.2).
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// A Header says whose connection it is. The zero Header says that the proxy doesn't
// know, or that the connection is its own, as to see whether the server lives.
type Header struct {
	Client netip.AddrPort // never IPv4-mapped
	Server netip.AddrPort // the address that the client came to
}

// ErrNone is a connection that ended before its first octet, as that of who only looks
// whether somebody listens.
var ErrNone = errors.New("no PROXY header came")

// Read reads a header from the start of a connection. Any error but ErrNone means that
// nothing is known of the client, and that the connection can't be used.
func Read(r io.Reader) (Header, error) {
	var start [len(signature)]byte
	n, err := io.ReadFull(r, start[:])
	switch {
	case err != nil && n == 0:
		return Header{}, fmt.Errorf("%w: %w", ErrNone, err)
	case err != nil:
		return Header{}, fmt.Errorf("read a PROXY header: %w", err)
	case string(start[:]) == signature:
		return readBinary(r)
	case string(start[:len(word)]) != word:
		return Header{}, fmt.Errorf("want a PROXY header, got %q", start[:])
	}
	line := append(make([]byte, 0, maxLine), start[:]...)
	for line[len(line)-1] != '\n' { // octet by octet: what follows isn't ours
		if len(line) == maxLine {
			return Header{}, fmt.Errorf("a PROXY header of more than %d octets", maxLine)
		}
		if _, err := io.ReadFull(r, line[len(line):len(line)+1]); err != nil {
			return Header{}, fmt.Errorf("read a PROXY header: %w", err)
		}
		line = line[:len(line)+1]
	}
	h, err := parseLine(string(line))
	if err != nil {
		err = fmt.Errorf("PROXY header %q: %w", line, err)
	}
	return h, err
}

// word begins a header of version 1.
const word = "PROXY "

// errForm is a header of version 1 of another form.
var errForm = errors.New("want PROXY TCP4 or TCP6, two addresses and two ports, or PROXY UNKNOWN")

// parseLine reads a header of version 1.
func parseLine(line string) (h Header, err error) {
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		return h, errForm
	}
	fields := strings.Split(text, " ")
	if fields[1] == "UNKNOWN" { // whatever follows is to be ignored
		return h, nil
	}
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return h, errForm
	}
	if h.Client, err = addrPort(fields[1] == "TCP6", fields[2], fields[4]); err != nil {
		return Header{}, err
	}
	if h.Server, err = addrPort(fields[1] == "TCP6", fields[3], fields[5]); err != nil {
		return Header{}, err
	}
	return h, nil
}

// addrPort reads an address and its port.
func addrPort(six bool, addr, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Is6() != six || a.Zone() != "" {
		return netip.AddrPort{}, errForm
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, errForm
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// What the octets 13 and 14 of version 2 may be.
const (
	local   = 0x20 // version 2, a connection of the proxy's own
	proxied = 0x21 // version 2, one that it passes on

	unspecified = 0x00
	tcp4        = 0x11
	tcp6        = 0x21
	unixStream  = 0x31
)

// readBinary reads a header of version 2 behind its signature.
func readBinary(r io.Reader) (h Header, err error) {
	var fixed [4]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return h, fmt.Errorf("read a PROXY header: %w", err)
	}
	length := int(binary.BigEndian.Uint16(fixed[2:]))
	if length > maxRest {
		return h, fmt.Errorf("a PROXY header with %d octets behind its start, at most %d are read", length, maxRest)
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(r, rest); err != nil {
		return h, fmt.Errorf("read a PROXY header: %w", err)
	}
	size := 0 // of an address
	switch command, family := fixed[0], fixed[1]; {
	case command == local:
		return h, nil
	case command != proxied:
		return h, fmt.Errorf("PROXY header: no version and command %#x", command)
	case family == unspecified, family == unixStream:
		return h, nil
	case family == tcp4:
		size = 4
	case family == tcp6:
		size = 16
	default:
		return h, fmt.Errorf("PROXY header: no protocol %#x is served", family)
	}
	if length < 2*size+4 {
		return h, fmt.Errorf("PROXY header: %d octets are too few for two addresses", length)
	}
	ports := rest[2*size:] // and what else the proxy knows, behind them
	return Header{Client: binaryAddr(rest[:size], ports), Server: binaryAddr(rest[size:2*size], ports[2:])}, nil
}

func binaryAddr(addr, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(addr) // it has the length of one
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
}
