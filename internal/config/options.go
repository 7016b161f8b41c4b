package config

import "time"

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
	doc  string              // one sentence for postoffice.cf(5)
	bind func(*Config) value // parser and destination
}

const day = 24 * time.Hour

// options is the table: all that there is to configure, in the order in which
// it is shown.
var options = []option{
	{name: "listen", def: ":25", once: true,
		doc:  "Where smtpd waits for connections; without an address on every IPv4 and IPv6 address.",
		bind: func(c *Config) value { return list(&c.Listen, listenAddr, "host:port, :port or host") }},
	{name: "queue-dir", def: "/var/spool/postoffice", once: true,
		doc:  "The spool, described in spool(5); it belongs to the server-user.",
		bind: func(c *Config) value { return text(&c.QueueDir, path, "absolute path") }},
	{name: "mail-dir", def: "/var/mail", once: true,
		doc:  "Where local mailboxes are, one file for each user.",
		bind: func(c *Config) value { return text(&c.MailDir, path, "absolute path") }},
	{name: "db-dir", def: "/var/lib/postoffice",
		doc:  "Where the server keeps its databases.",
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
		doc:  "Where a user's mail goes instead of mail-dir: ~/Maildir/ with a slash behind it is a Maildir, ~/file a file in his home directory, lmtp:/socket an LMTP server; see mailboxes(7).",
		bind: func(c *Config) value { return text(&c.Mailbox, mailbox, "~/file, ~/Maildir/ or lmtp:/socket") }},
	{name: "mailer",
		doc:  "A program that delivers to a user instead, whatever mailbox says: it runs as him, gets the message on its standard input, and its words may hold ${user}, ${home}, ${sender}, ${recipient} and ${extension}.",
		bind: func(c *Config) value { return text(&c.Mailer, command, "absolute path and arguments") }},
	{name: "default-user", def: "nobody",
		doc:  "The account that programs and files of the alias file run as and belong to.",
		bind: func(c *Config) value { return text(&c.DefaultUser, account, "account name") }},
	{name: "program-dir",
		doc:  "A directory of the programs that aliases and .forward files may run, as with smrsh(8); without it they may run any.",
		bind: func(c *Config) value { return text(&c.ProgramDir, path, "absolute path") }},
	{name: "program-time", def: "15m",
		doc:  "How long a program that an alias, a .forward or mailer runs may take before it is killed with all its processes.",
		bind: func(c *Config) value { return span(&c.ProgramTime, time.Second, day) }},
	{name: "server-user", def: "postoffice", once: true,
		doc:  "The account that the server runs as, and to which the spool belongs.",
		bind: func(c *Config) value { return text(&c.ServerUser, account, "account name") }},
	{name: "trusted-users",
		doc:  "Accounts whose programs may give any sender, as root and the server-user may; a message of anybody else's with a sender that isn't his gets the field X-Authentication-Warning.",
		bind: func(c *Config) value { return list(&c.TrustedUsers, account, "account names") }},
	{name: "hostname", same: "self", def: "auto",
		doc:  "This machine's name in mail: a name, auto (the node name made whole by /etc/hosts or DNS) or literal (the node name as it is).",
		bind: func(c *Config) value { return text(&c.Hostname, hostname, "host name, auto or literal") }},
	{name: "local-domains",
		doc:  "Domains whose mail is delivered on this machine, besides its own name, its addresses and localhost.",
		bind: func(c *Config) value { return list(&c.LocalDomains, domain, "domain names") }},
	{name: "local-by-dns", def: "yes",
		doc:  "Whether a domain is local too if its best MX, or its address, is an address of this machine.",
		bind: func(c *Config) value { return flag(&c.LocalByDNS) }},
	{name: "trusted",
		doc:  "Clients that may relay mail through this machine: addresses, networks such as 192.0.2.0/24, and host names.",
		bind: func(c *Config) value { return list(&c.Trusted, client, "addresses, networks or host names") }},
	{name: "relay-host",
		doc:  "The smarthost that gets all mail for other machines; a name in brackets or an address is used without asking for its MX.",
		bind: func(c *Config) value { return text(&c.RelayHost, relayHost, "host or [address], with :port") }},
	{name: "smtp-port", def: "25",
		doc:  "The port of the machines that mail is sent to.",
		bind: func(c *Config) value { return integer(&c.SMTPPort, 1, 65535) }},
	{name: "dns-server",
		doc:  "DNS servers to ask instead of those in resolv.conf.",
		bind: func(c *Config) value { return list(&c.DNSServers, dnsServer, "addresses, with :port") }},
	{name: "size", def: "0",
		doc:  "The biggest message that is taken, in octets; 0 is no limit.",
		bind: func(c *Config) value { return octets(&c.Size, 1, sizeTags) }},
	{name: "timeout", def: "5m",
		doc:  "How long a session waits for its client's next command.",
		bind: func(c *Config) value { return span(&c.Timeout, time.Second, day) }},
	{name: "clients", def: "100",
		doc:  "How many SMTP sessions there may be at once; 0 is no limit.",
		bind: func(c *Config) value { return integer(&c.Clients, 0, 1_000_000) }},
	{name: "clients-per-address", def: "1",
		doc:  "How many of them may come from one address on a listening port, this machine's own addresses excepted; 0 is no limit.",
		bind: func(c *Config) value { return integer(&c.ClientsPerAddress, 0, 1_000_000) }},
	{name: "load", def: "0",
		doc:  "The one-minute load average above which connections are refused for a while; 0 is off.",
		bind: func(c *Config) value { return decimal(&c.Load, 100_000) }},
	{name: "minfree", def: "10m", once: true,
		doc:  "The room in kibibytes that the spool's file system must have for mail to be taken; 0 is off.",
		bind: func(c *Config) value { return octets(&c.MinFree, 1024, freeTags) }},
	{name: "hops", def: "100",
		doc:  "How many Received: fields a message may have before it counts as looping.",
		bind: func(c *Config) value { return integer(&c.Hops, 1, 10_000) }},
	{name: "queue-interval", def: "0", who: anyone, once: true,
		doc:  "How often every message of the queue is tried, whatever its own time, as with the flag -q of smtpd; 0 leaves each to its own.",
		bind: func(c *Config) value { return span(&c.QueueInterval, 0, 365*day) }},
	{name: "qreturn", def: "3d",
		doc:  "Return a message to its sender after this long.",
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
	{name: "escape-from", def: "no",
		doc:  "Whether lines of a message that begin with From are quoted with > in local mailboxes.",
		bind: func(c *Config) value { return flag(&c.EscapeFrom) }},
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
		if equalFold(name, o.name) || o.same != "" && equalFold(name, o.same) {
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
		names = append(names, o.name)
		if o.same != "" {
			names = append(names, o.same)
		}
	}
	return nearest(name, names)
}
