package envelope

import (
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// clientEnd is where the Client of an Envelope has ended: its name has 255 octets at
// most, four times that where each is quoted.
const clientEnd = 4 << 10

// ClientOf reads the Envelope's Client in a message file, and nothing else of it.
// ErrDamaged: there is none; any other error comes from r.
func ClientOf(r io.ReaderAt) (string, error) {
	l := newLineReader(r, 0, clientEnd)
	defer l.free()
	for range 2 { // the first line, and the time
		if _, err := l.next(); err != nil {
			return "", cut(err, "envelope")
		}
	}
	line, err := l.next()
	if err != nil {
		return "", cut(err, "envelope")
	}
	p := scanner{s: string(line[:len(line)-1]), ok: true}
	p.lit("client ")
	client := p.word()
	if !p.ok || p.s != "" {
		return "", damage("no client in its envelope")
	}
	return client, nil
}

// ClientUID returns the user of the program of this machine that an Envelope's
// Client names, as "name[uid 1000]".
func ClientUID(client string) (uid int, ok bool) {
	_, at, ok := bracketed(client)
	digits, isUID := strings.CutPrefix(at, "uid ")
	if !ok || !isUID || !strings.HasSuffix(client, "]") {
		return 0, false
	}
	uid, err := strconv.Atoi(digits)
	return uid, err == nil && uid >= 0
}

// ClientAddr returns the address of the network that an Envelope's Client names,
// as "name[192.0.2.1]:2525".
func ClientAddr(client string) (a netip.Addr, ok bool) {
	_, at, ok := bracketed(client)
	a, err := netip.ParseAddr(at)
	return a, ok && err == nil
}

// ClientOwner returns the user for whom a connection by TCP from this machine counts, where
// an Envelope's Client says so, as "localhost[127.0.0.1]:40000 uid 1000": whoever made its
// socket. That gives nobody a right, for a socket may be handed on.
func ClientOwner(client string) (uid int, ok bool) {
	_, digits, ok := strings.Cut(client[strings.LastIndexByte(client, ']')+1:], ownedBy)
	uid, err := strconv.Atoi(digits)
	_, network := ClientAddr(client)
	return uid, ok && network && err == nil && uid >= 0
}

// OwnedBy returns a Client of which ClientOwner tells uid.
func OwnedBy(client string, uid int) string { return client + ownedBy + strconv.Itoa(uid) }

const ownedBy = " uid "

// bracketed splits a client at its last brackets: what stands before them is a
// name that somebody else may have chosen.
func bracketed(client string) (name, at string, ok bool) {
	i, j := strings.LastIndexByte(client, '['), strings.LastIndexByte(client, ']')
	if i < 0 || j < i {
		return "", "", false
	}
	return client[:i], client[i+1 : j], true
}
