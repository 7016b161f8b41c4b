package deliver

import (
	"strconv"

	"postoffice/internal/peer"
	"postoffice/internal/smtp"
	"postoffice/spool/envelope"
)

// submitter names who a message comes from, for the shares that the schedule
// gives each: a user of this machine, a network, or the null sender, whose
// messages from elsewhere and reports of ours are one.
func submitter(client string, reverse smtp.Path) string {
	if uid, ok := envelope.ClientUID(client); ok {
		return "uid " + strconv.Itoa(uid)
	}
	a, ok := envelope.ClientAddr(client)
	if !ok || reverse.IsNull() {
		return "null sender"
	}
	return peer.Network(a).String()
}
