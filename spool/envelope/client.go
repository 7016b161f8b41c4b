package envelope

import (
	"net/netip"
	"strconv"
	"strings"
)

// ClientUID returns the user of the program of this machine that an Envelope's
// Client names, as "name[uid 1000]".
func ClientUID(client string) (uid int, ok bool) {
	_, at, ok := bracketed(client)
	digits, isUID := strings.CutPrefix(at, "uid ")
	uid, err := strconv.Atoi(digits)
	return uid, ok && isUID && err == nil && uid >= 0 && strings.HasSuffix(client, "]")
}

// ClientAddr returns the address of the network that an Envelope's Client names,
// as "name[192.0.2.1]:2525".
func ClientAddr(client string) (a netip.Addr, ok bool) {
	_, at, ok := bracketed(client)
	a, err := netip.ParseAddr(at)
	return a, ok && err == nil
}

// bracketed splits a client at its last brackets: what stands before them is a
// name that somebody else may have chosen.
func bracketed(client string) (name, at string, ok bool) {
	i, j := strings.LastIndexByte(client, '['), strings.LastIndexByte(client, ']')
	if i < 0 || j < i {
		return "", "", false
	}
	return client[:i], client[i+1 : j], true
}
