package deliver

import (
	"net/netip"
	"strconv"

	"postoffice/internal/peer"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// Submitter names who a message comes from, for the shares that the schedule
// gives each: a user of this machine, all that come by TCP over
// loopback and of whom that isn't known, a network, or the
// null sender, whose messages from elsewhere and reports of ours are one.
func Submitter(client string, reverse smtp.Path) string {
	if uid, ok := envelope.ClientUID(client); ok {
		return "uid " + strconv.Itoa(uid)
	}
	if uid, ok := envelope.ClientOwner(client); ok {
		return "uid " + strconv.Itoa(uid)
	}
	a, ok := envelope.ClientAddr(client)
	switch {
	case !ok || reverse.IsNull():
		return "null sender"
	case a.Unmap().IsLoopback(): // who is at it may take any address of it
		return "loopback"
	}
	return networkName(a)
}

// networkName names the network of an address.
func networkName(a netip.Addr) string {
	return string(peer.Network(a).AppendTo(make([]byte, 0, len("2001:db8:1234:5678::/64"))))
}
