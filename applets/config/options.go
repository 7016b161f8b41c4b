package config

import (
	"time"

	"postoffice/internal/smtp"
)

// who may give an option with -o. The zero value is the safe one.
type who uint8

const (
	root   who = iota // uid 0 alone
	anyone            // it harms nobody but the caller
)

// option is one line of the table.
type option struct {
	name string              // as in postoffice.cf and after -o, in lower case
	same string              // a second name for the same
	def  string              // goes through the same parser as the file
	who  who                 // who may give it with -o
	once bool                // it is read at the start alone: sockets, directories and processes stay as they are
	idle bool                // nothing uses it yet: it is accepted, and neither shown nor in the manual
	miss string              // of an idle one: what is missed, which who sets it is told
	was  string              // what it was to the first postoffice, where that was something else
	doc  string              // one sentence for postoffice.cf(5)
	bind func(*Config) value // parser and destination
}

// Auto is the value of options that find theirs themselves.
const Auto = "auto"

const day = 24 * time.Hour

// options is the table: all that there is to configure, in the order in which
// it is shown.
var options = []option{
	{name: "listen", def: ":25", once: true,
		doc:  "Where smtpd waits for connections; without an address on every IPv4 and IPv6 address.",
		bind: func(c *Config) value { return list(&c.Listen, listenAddr, "host:port, :port or host") }},
	{name: "msp", def: "no", once: true,
		was:  "in a file of the first postoffice the second port had the rules of the first one; today only this machine and trusted clients may send there",
		doc:  "Whether there is a second port, for mail that this machine's own users send (RFC 6409): 587, or the one that is given, at the addresses of listen; whoever is neither this machine nor trusted is refused there.",
		bind: func(c *Config) value { return flagOrPort(&c.MSP, 587) }},
	{name: "msps", def: "no", once: true,
		doc:  "Whether there is a port like that of msp where TLS comes first (RFC 8314): 465, or the one that is given.",
		bind: func(c *Config) value { return flagOrPort(&c.MSPS, 465) }},
	{name: "tls-cert",
		doc:  "Files with certificates in PEM, each with its chain behind it; a client gets the first one that is for the name which it asks for, else the first of all; they are read again when they change; without any a self-signed one is made in tls/ below db-dir, and none is no TLS.",
		bind: func(c *Config) value { return list(&c.TLSCert, certFile, "absolute paths or none") }},
	{name: "tls-key",
		doc:  "The files with their private keys, in the same order; without any each key stands in the file of its certificate.",
		bind: func(c *Config) value { return list(&c.TLSKey, path, "absolute paths") }},
	{name: "tls-ask", def: "no",
		doc:  "Whether clients are asked for a certificate of theirs; the log shows it, nothing demands or verifies it.",
		bind: func(c *Config) value { return flag(&c.TLSAsk) }},
	{name: "queue-dir", def: "/var/spool/postoffice", once: true,
		doc:  "The spool, described in spool(5); it belongs to the server-user.",
		bind: func(c *Config) value { return text(&c.QueueDir, path, "absolute path") }},
	{name: "mail-dir", def: "/var/mail", once: true,
		doc:  "Where local mailboxes are, one file for each user.",
		bind: func(c *Config) value { return text(&c.MailDir, path, "absolute path") }},
	{name: "db-dir", def: "/var/lib/postoffice", once: true,
		doc:  "Where the server keeps what it makes for itself: the certificate that serves where tls-cert names none.",
		bind: func(c *Config) value { return text(&c.DBDir, path, "absolute path") }},
	{name: "run-dir", def: "/run/postoffice", once: true,
		doc:  "Where a running server has its sockets, its lock and its process number.",
		bind: func(c *Config) value { return text(&c.RunDir, path, "absolute path") }},
	{name: "aliases", def: "/etc/aliases",
		doc:  "The file of aliases for local names.",
		bind: func(c *Config) value { return text(&c.Aliases, path, "absolute path") }},
	{name: "usermap",
		doc:  "Names without alias and account, as usermap(7) says: a pattern, a colon, and where its names lead; an entry with blanks stands in double quotes.",
		bind: func(c *Config) value { return entries(&c.Usermap, usermapEntry, "pattern:target,target…") }},
	{name: "recipient-delimiter", def: "+",
		doc:  "What parts a local name from a detail behind it, as in user+detail; empty is nothing.",
		bind: func(c *Config) value { return text(&c.Delimiter, delimiter, "one of + - = _") }},
	{name: "mailbox", once: true,
		doc:  "Where a user's mail goes instead of mail-dir: ~/Maildir/ with a slash behind it is a Maildir, ~/file a file in their home directory, lmtp:/socket an LMTP server; see mailboxes(7).",
		bind: func(c *Config) value { return text(&c.Mailbox, mailbox, "~/file, ~/Maildir/ or lmtp:/socket") }},
	{name: "mailer",
		doc:  "A program that delivers to a user instead, whatever mailbox says: it runs as that user, gets the message on its standard input, and its words may hold ${user}, ${home}, ${sender}, ${recipient} and ${extension}.",
		bind: func(c *Config) value { return text(&c.Mailer, command, "absolute path and arguments") }},
	{name: "default-user", def: Auto,
		doc:  "The account that programs and files of the alias file run as and belong to, which should be nobody else's; auto is postoffice-alias where there is such an account, else nobody.",
		bind: func(c *Config) value { return text(&c.DefaultUser, account, "account name or auto") }},
	{name: "program-dir",
		doc:  "A directory of the programs that aliases and .forward files may run, as with smrsh(8); without it they may run any.",
		bind: func(c *Config) value { return text(&c.ProgramDir, path, "absolute path") }},
	{name: "program-time", def: "15m",
		doc:  "How long a program that an alias, a .forward or mailer runs may take before it is killed with all its processes.",
		bind: func(c *Config) value { return span(&c.ProgramTime, time.Second, day) }},
	{name: "program-capabilities", def: "yes", once: true,
		doc:  "Whether such programs may come to capabilities by set-id programs, as sudo needs them; with no neither they nor anything else that a server of root's starts has one it doesn't use itself.",
		bind: func(c *Config) value { return flag(&c.ProgramCapabilities) }},
	{name: "server-user", def: "postoffice", once: true,
		doc:  "The account that the server runs as, and to which the spool belongs.",
		bind: func(c *Config) value { return text(&c.ServerUser, account, "account name") }},
	{name: "trusted-users",
		doc:  "Accounts whose programs may give any sender, as root and the server-user may; a message of anybody else's with a sender that isn't theirs gets the field X-Authentication-Warning.",
		bind: func(c *Config) value { return list(&c.TrustedUsers, account, "account names") }},
	{name: "queue-view", def: ViewOwn,
		doc:  "What users see of mail that isn't theirs: own tells others than its submitter, root, the server-user and trusted-users of a message its ID, size, age and state, and shows who stands in a .forward, a list or what usermap names to its owner; all shows everything to everybody, as sendmail does.",
		bind: func(c *Config) value { return choice(&c.QueueView, ViewOwn, ViewAll) }},
	{name: "hostname", same: "self", def: "auto",
		doc:  "This machine's name in mail: a name, auto (the node name made whole by /etc/hosts or DNS; unknown.invalid if it is localhost) or literal (the node name as it is).",
		bind: func(c *Config) value { return text(&c.Hostname, hostname, "host name, auto or literal") }},
	{name: "local-domains",
		doc:  "Domains whose mail is delivered on this machine, besides its own names, its addresses and localhost; its own names are hostname, the node name and its first label, what stands beside the node name in /etc/hosts, and localhost in their domains.",
		bind: func(c *Config) value { return list(&c.LocalDomains, domain, "domain names") }},
	{name: "local-by-dns", def: "yes",
		doc:  "Whether a domain is local too if its best MX, or its address, is an address of this machine.",
		bind: func(c *Config) value { return flag(&c.LocalByDNS) }},
	{name: "trusted",
		doc:  "Clients that may relay mail through this machine: addresses, networks such as 192.0.2.0/24, and host names.",
		bind: func(c *Config) value { return list(&c.Trusted, client, "addresses, networks or host names") }},
	{name: "proxy-from",
		doc:  "Balancers in front of this machine: addresses and networks whose connections begin with a header of the PROXY protocol, version 1 or 2, which says whose connection it is; without one they are closed, and what they name is never this machine.",
		bind: func(c *Config) value { return list(&c.ProxyFrom, network, "addresses or networks") }},
	{name: "xclient-from",
		doc:  "Servers and filters in front of this one, addresses and networks, that may say by the command XCLIENT whose mail they pass on; whom they name is never this machine.",
		bind: func(c *Config) value { return list(&c.XClientFrom, network, "addresses or networks") }},
	{name: "localmx", def: "no",
		was:  "it trusted any name that DNS has for an address; today one that leads back to the address",
		doc:  "Whether a client may relay whose verified name has an exchanger (MX) that is this machine; whoever has a name may publish that, so trusted is better where clients can be named.",
		bind: func(c *Config) value { return flag(&c.LocalMX) }},
	{name: "relay", def: RelayBS,
		was:  "it held for sendmail -bs alone, whatever it seemed to say of clients of a port, and so it does today: trusted names who may relay there",
		doc:  "Who may send to other machines without being trusted: bs, whoever speaks SMTP to sendmail -bs; no, nobody; with yes, which is bs to sendmail -bs, no server begins to listen on a port: it would let everybody relay.",
		bind: func(c *Config) value { return flagOr(&c.Relay, RelayBS) }},
	{name: "mxpool", def: "no",
		was:  "without it, mail for a domain with this machine as any of its exchangers was delivered here; today that is so for the best one alone",
		doc:  "Whether mail from anybody is taken for domains with this machine as an exchanger that isn't their best one; it goes on to a better one, or to relay-host.",
		bind: func(c *Config) value { return flag(&c.MXPool) }},
	{name: "relay-host",
		doc:  "The smarthost that gets all mail for other machines; a name in brackets or an address is used without asking for its MX.",
		bind: func(c *Config) value { return text(&c.RelayHost, relayHost, "host or [address], with :port") }},
	{name: "forward-all", def: "yes",
		was:  "without it, mail for domains that DNS doesn't know was refused; today it goes to relay-host unless forward-all=no",
		doc:  "Whether mail for domains that DNS doesn't know goes to relay-host too, as where that knows names which are private to a site; with no it is returned; without relay-host it means nothing.",
		bind: func(c *Config) value { return flag(&c.ForwardAll) }},
	{name: "smtp-port", def: "25",
		doc:  "The port of the machines that mail is sent to.",
		bind: func(c *Config) value { return integer(&c.SMTPPort, 1, 65535) }},
	{name: "dns-server",
		doc:  "DNS servers to ask instead of those in resolv.conf.",
		bind: func(c *Config) value { return list(&c.DNSServers, dnsServer, "addresses, with :port") }},
	{name: "hosts-allow", def: "/etc/hosts.allow",
		doc:  "A file in the language of hosts_access(5) of clients that may connect whatever hosts-deny says; what it means here is in smtpd(8).",
		bind: func(c *Config) value { return text(&c.HostsAllow, path, "absolute path") }},
	{name: "hosts-deny", def: "/etc/hosts.deny",
		doc:  "A file in the same language of clients that may not connect.",
		bind: func(c *Config) value { return text(&c.HostsDeny, path, "absolute path") }},
	{name: "forbidden", same: "blacklist", def: "bounce", once: true,
		doc:  "What becomes of clients that may not connect: bounce, or bounce: with words for them, refuses them; accept takes their mail with the field X-Spam; folder: takes it so too, and puts it into a folder of each local recipient: ~/path in the home directory, or the file user:name in mail-dir; see mailboxes(7).",
		bind: func(c *Config) value { return actionValue{p: &c.Forbidden} }},
	{name: "paranoid", def: "no",
		was:  "it was content with any name in DNS; today the name must lead back to the address",
		doc:  "Whether clients whose address has no name in DNS that leads back to it are treated as forbidden says.",
		bind: func(c *Config) value { return flag(&c.Paranoid) }},
	{name: "dnscheck", def: "no",
		was:  "it did nothing; today it refuses clients whose name in DNS doesn't lead back to their address",
		doc:  "Whether clients whose address has a name in DNS that does not lead back to it are treated as forbidden says; of those without any name paranoid says it, which includes dnscheck.",
		bind: func(c *Config) value { return flag(&c.DNSCheck) }},
	{name: "checkhelo", def: "no",
		doc:  "Whether clients are refused that call themselves by a name or an address of this machine.",
		bind: func(c *Config) value { return flag(&c.CheckHelo) }},
	{name: "verify-from", def: "yes",
		doc:  "Whether strangers' reverse-paths are refused that have no domain, or one that doesn't exist, takes no mail, or is this machine's.",
		bind: func(c *Config) value { return flag(&c.VerifyFrom) }},
	{name: "nodaemon", def: "no",
		doc:  "Whether mail from the null sender, as reports are, is refused; the refusal comes at DATA.",
		bind: func(c *Config) value { return flag(&c.NoDaemon) }},
	{name: "soft-deny", def: "no",
		was:  "it did nothing; today refusals are temporary with it",
		doc:  "Whether checks of clients refuse for a while, with a reply that begins with 4, where they would refuse for good.",
		bind: func(c *Config) value { return flag(&c.SoftDeny) }},
	{name: "banner", def: "/etc/issue.smtp",
		doc:  "A file whose lines, 40 at most, follow the greeting of clients of the network; it is read again when it changes, and need not be there.",
		bind: func(c *Config) value { return text(&c.Banner, path, "absolute path") }},
	{name: "debug", def: "no",
		was:  "it answered anybody; today the verb is for this machine and trusted clients",
		doc:  "Whether the verb DEBUG of SMTP shows the settings and the open transaction, to this machine and to trusted clients; for others there is no such verb.",
		bind: func(c *Config) value { return flag(&c.Debug) }},
	{name: "audit", def: "no", who: anyone,
		doc:  "Whether each command of a client and its reply are written to the log, as mailaudit(5) says; SIGUSR1 turns it on and off.",
		bind: func(c *Config) value { return flag(&c.Audit) }},
	{name: "greet-delay", def: "0",
		doc:  "How long after it came a stranger is greeted on port 25; who speaks before that is treated as early-talk says; 0 is at once.",
		bind: func(c *Config) value { return span(&c.GreetDelay, 0, 5*time.Minute) }},
	{name: "early-talk", def: Reject,
		doc:  "What becomes of clients that speak before the greeting, where greet-delay holds it back: reject, with 554, or tag, which takes their mail with the field X-Spam.",
		bind: func(c *Config) value { return choice(&c.EarlyTalk, Reject, Tag) }},
	{name: "soft-errors", def: "10",
		doc:  "After how many refused commands without a message in between a stranger waits error-delay for each reply.",
		bind: func(c *Config) value { return integer(&c.SoftErrors, 0, 10_000) }},
	{name: "error-delay", def: "1",
		doc:  "How long each reply waits after soft-errors refused commands, for clients that are neither trusted nor of this machine; 0 is not at all.",
		bind: func(c *Config) value { return span(&c.ErrorDelay, 0, 5*time.Minute) }},
	{name: "hard-errors", def: "20",
		doc:  "How many commands of a session may be refused for good without a message in between before it is ended with 421; refused recipients of trusted clients don't count; 0 is no limit.",
		bind: func(c *Config) value { return integer(&c.HardErrors, 0, 10_000) }},
	{name: "rate-time", def: "1m",
		doc:  "The time in which one address of strangers may have as many connections, messages and recipients as rate-connections, rate-messages, rate-recipients and rate-unknown say; an IPv4 network of 24 bits and an IPv6 one of 48 may have sixteen times as many, an IPv6 one of 32 bits sixty-four times; what is more is refused for a while.",
		bind: func(c *Config) value { return span(&c.RateTime, time.Second, day) }},
	{name: "rate-connections", def: "0",
		doc:  "How many connections a stranger's address may make in rate-time; 0 is no limit.",
		bind: func(c *Config) value { return integer(&c.RateConnections, 0, 1_000_000) }},
	{name: "rate-messages", def: "0",
		doc:  "How many messages a stranger's address may begin in rate-time; 0 is no limit.",
		bind: func(c *Config) value { return integer(&c.RateMessages, 0, 1_000_000) }},
	{name: "rate-recipients", def: "0",
		doc:  "How many recipients a stranger's address may name in rate-time; 0 is no limit.",
		bind: func(c *Config) value { return integer(&c.RateRecipients, 0, 1_000_000) }},
	{name: "rate-unknown", def: "0",
		doc:  "How many recipients that there are not a stranger's address may name in rate-time before it is told of none; 0 is no limit.",
		bind: func(c *Config) value { return integer(&c.RateUnknown, 0, 1_000_000) }},
	{name: "coal", def: "no", once: true,
		doc:  "Whether, and for how long, strangers who were refused too often may begin no connection, and with them whoever shares their address, as smtpd(8) says; yes is 1h; it needs nftables in the kernel, and a server of root's.",
		bind: func(c *Config) value { return flagOrSpan(&c.Coal, time.Hour, 2*time.Second, day) }},
	{name: "size", def: "100m",
		doc:  "The biggest message that is taken, in octets; 0 is no limit.",
		bind: func(c *Config) value { return octets(&c.Size, 1, sizeTags) }},
	{name: "timeout", def: "5m",
		doc:  "How long a session waits for its client's next command.",
		bind: func(c *Config) value { return span(&c.Timeout, time.Second, day) }},
	{name: "clients", def: "100",
		doc:  "How many SMTP sessions with strangers there may be at once; trusted clients and this machine's own addresses may have as many beside them; 0 is no limit.",
		bind: func(c *Config) value { return integer(&c.Clients, 0, 1_000_000) }},
	{name: "clients-per-address", def: "1",
		doc:  "How many sessions one stranger's address may have at a time on a listening port, a network of 64 bits with IPv6; further clients wait for their turn without a greeting, ten at most and for 30 seconds, and then get 421; a network of 56 bits has a quarter of all sessions and one of 48 half; 0 is no limit for any of these.",
		bind: func(c *Config) value { return integer(&c.ClientsPerAddress, 0, 1_000_000) }},
	{name: "load", def: "0",
		doc:  "The one-minute load average above which connections are refused for a while; 0 is off.",
		bind: func(c *Config) value { return decimal(&c.Load, 100_000) }},
	{name: "minfree", def: "10m", once: true,
		doc:  "The room in kibibytes that the spool's file system must have for mail to be taken, and of what is above it each user and network has a share, see smtpd(8); 0 is off; where it is more than half of that file system, a tenth of it counts.",
		bind: func(c *Config) value { return octets(&c.MinFree, 1024, freeTags) }},
	{name: "hops", def: "100",
		doc:  "How many Received: fields a message may have before it counts as looping.",
		bind: func(c *Config) value { return integer(&c.Hops, 1, 10_000) }},
	{name: "queue-interval", def: "0", who: anyone, once: true,
		doc:  "How often every message of the queue is tried, whatever its own time, as with the flag -q of smtpd; 0 leaves each to its own.",
		bind: func(c *Config) value { return span(&c.QueueInterval, 0, 365*day) }},
	{name: "qreturn", def: "3d",
		doc:  "Return a message to its sender after this long; with 0 a failure of the first attempt returns it, also one that may pass.",
		bind: func(c *Config) value { return span(&c.QReturn, 0, 365*day) }},
	{name: "bare-newline", def: Normalize,
		doc:  "What becomes of a message with line feeds that no carriage return precedes: normalize takes them as line ends, reject refuses the message.",
		bind: func(c *Config) value { return choice(&c.BareNewline, Normalize, Reject) }},
	{name: "immediate", def: "yes", who: anyone,
		doc:  "Whether a message of sendmail is tried at once where no flag -od says when; with no it waits for the next run of the queue.",
		bind: func(c *Config) value { return flag(&c.Immediate) }},
	{name: "queue-only", def: "no", once: true,
		doc:  "Whether the server only takes mail and keeps it, so that runq alone delivers.",
		bind: func(c *Config) value { return flag(&c.QueueOnly) }},
	{name: "escape-from", def: InFiles,
		doc:  "Where lines of a message that begin with From are quoted with >, so that nobody takes them for the next message: mbox in mailboxes and files, yes also in Maildirs and for programs and LMTP servers, no nowhere.",
		bind: func(c *Config) value { return flagOr(&c.EscapeFrom, InFiles) }},
	{name: "delay", def: "1h", idle: true,
		miss: "there is no greylist yet, and nobody is kept waiting",
		doc:  "How long the greylist keeps strangers waiting.",
		bind: func(c *Config) value { return span(&c.Delay, 0, 365*day) }},
	{name: "greylist-from", def: "no", idle: true,
		miss: "there is no greylist yet, and nobody is kept waiting",
		doc:  "Whether the greylist tells strangers apart by the whole reverse-path.",
		bind: func(c *Config) value { return flag(&c.GreylistFrom) }},
	{name: "filter", idle: true,
		miss: "no filter is asked yet: mail is taken unseen",
		doc:  "The sockets of filters (milters), in the order in which they are asked.",
		bind: func(c *Config) value { return list(&c.Filters, filter, "/socket or host:port") }},
	{name: "spam", def: "bounce", idle: true,
		miss: "no filter is asked yet: mail is taken unseen",
		doc:  "What becomes of mail that a filter finds bad, as forbidden says it of clients.",
		bind: func(c *Config) value { return actionValue{p: &c.Spam} }},
	{name: "safe", def: "no", idle: true,
		miss: "nobody can log in yet, and no filter is asked",
		doc:  "Whether mail of clients that have logged in is not filtered.",
		bind: func(c *Config) value { return flag(&c.Safe) }},
	{name: "log", def: "syslog", who: anyone, once: true,
		doc:  "Where the log goes: one or several of syslog, stderr, and file: with an absolute path.",
		bind: func(c *Config) value { return list(&c.Log, logSink, "syslog, stderr or file:PATH") }},
	{name: "log-format", def: "text", who: anyone, once: true,
		doc:  "How a line of the log looks: text or json.",
		bind: func(c *Config) value { return choice(&c.LogFormat, "text", "json") }},
}

// lookup finds an option by either name, without regard to case: its place in
// the table, or -1.
func lookup(name string) int {
	for i, o := range options {
		if smtp.EqualFold(name, o.name) || o.same != "" && smtp.EqualFold(name, o.same) {
			return i
		}
	}
	return -1
}

// Index is the place of the option called name in Settings, -1 if there is
// none.
func Index(name string) int { return lookup(name) }

// IsOption says whether name, or name=value, is an option of ours, so that
// sendmail's own -o settings can be told from it.
func IsOption(set string) bool {
	name, _, _ := cut(set)
	return lookup(name) >= 0
}

// Nearest is the option whose name is most like name, "" if none is.
func Nearest(name string) string {
	names := make([]string, 0, len(options))
	for _, o := range options {
		if o.idle {
			continue
		}
		names = append(names, o.name)
		if o.same != "" {
			names = append(names, o.same)
		}
	}
	return nearest(name, names)
}
