package remote

import (
	"slices"
	"strconv"
	"strings"

	"postoffice/internal/smarthost"
	"postoffice/internal/smtp"
)

// A Hop is where a message goes next: to the first of some hosts that talks, or
// to the LMTP server at a socket of this machine.
type Hop struct {
	Key     string          // equal for equal hosts, in whatever order; what the Pool knows a hop by
	Targets []Target        // best first
	Socket  string          // instead of Targets
	Relay   *smarthost.Host // what Targets are the addresses of, if it is one: its wish for a login is no answer about a message

	Security Security // what its messages need: see Secured
}

// HopTo returns the hop to these hosts. Its key is the same whatever their
// order, which is random among equals.
func HopTo(targets []Target) Hop {
	var names []string
	port := ""
	for _, t := range targets {
		names = append(names, smtp.Fold(t.Host))
		port = strconv.Itoa(t.Port)
	}
	slices.Sort(names)
	return Hop{Key: strings.Join(names, ",") + ":" + port, Targets: targets}
}

// HopToRelay returns the hop to a smarthost with these addresses. Its sessions are those
// of one login.
func HopToRelay(relay smarthost.Host, targets []Target) Hop {
	h := HopTo(targets)
	h.Key, h.Relay = "relay-host "+relay.String()+" "+h.Key, &relay
	return h
}

// HopToStore returns the hop to the LMTP server at a socket.
func HopToStore(socket string) Hop { return Hop{Key: "lmtp:" + socket, Socket: socket} }

// limits returns how many sessions a hop has at the start, and how many once it
// has shown that it takes mail. A server of this machine has shown it.
func (h Hop) limits() (first, most int) {
	if h.Socket != "" {
		return storeSessions, storeSessions
	}
	return 1, hopSessions
}
