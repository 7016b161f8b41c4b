package config

import (
	"time"

	"postoffice/internal/filterline"
)

// DefaultFile is read by every program unless -C names another.
const DefaultFile = "/etc/postoffice.cf"

// Config is the whole configuration, checked. Each field belongs to one option
// of the table in options.go; its comment says what a caller can rely on.
type Config struct {
	Listen         []string // each host:port, host "" for all addresses of both families; never empty
	MSP            int      // the port of submission; 0 none
	MSPS           int      // the port of submission where TLS comes first; 0 none
	TLSCert        []string // files, or NoTLS alone
	TLSKey         []string // files
	TLSAsk         bool     // ask clients for a certificate
	Auth           []string // logins.Virtual, logins.System, or logins.Dovecot and an absolute path; empty: virtual where there are domains
	AuthMechanisms []string // in capitals; empty: what all of Auth can do
	AuthPort25     bool     // log in on port 25 too
	AuthClear      []string // networks whose logins need no TLS
	SenderLogins   string   // "" none
	HideClient     bool     // who has logged in is not shown by address

	QueueDir string // absolute, as all directories and files here
	MailDir  string
	DBDir    string
	RunDir   string

	StopTime    time.Duration // what sessions and deliveries get to end in
	RequireHome bool          // mail for users without one waits

	Aliases string

	VHostDir     string // "" no virtual domains
	VHostSpool   string
	VHostUser    string
	VHostQuota   int64  // octets of a mailbox; 0: no bound
	VHostMailbox string // VHostFile, VHostMaildir, or "lmtp:" and an absolute path
	VHostFolder  string // of who asks for a folder there; "" none

	Usermap             []string // each pattern:targets, in the order given
	Delimiter           string   // one octet or ""
	Mailbox             string   // "", "~/file", "~/dir/" or "lmtp:" and an absolute path
	Mailer              string   // "" or an absolute path with arguments
	DefaultUser         string
	ProgramDir          string // "" any program
	ProgramTime         time.Duration
	ProgramCapabilities bool

	ServerUser   string
	TrustedUsers []string // account names, besides root and ServerUser
	Hostname     string   // Auto, "literal" or a name with no trailing dot; that of a file where one is named
	LocalDomains []string // lower case, no trailing dot
	LocalByDNS   bool
	Trusted      []string // each an address, a prefix (a/n) or a host name
	ProxyFrom    []string // each an address or a prefix
	XClientFrom  []string // each an address or a prefix

	MXPool     bool     // take mail for domains with us as an exchanger that isn't the best
	ForwardAll bool     // unknown domains go to RelayHost too
	RelayHost  string   // "" none; what smarthost.Parse reads
	RelayTLS   string   // what smarthost.ParseTrust reads
	Routes     string   // "" none
	Masquerade string   // "" none
	SenderMap  string   // "" none
	SMTPPort   int      // 1 to 65535
	DNSServers []string // each address:port; empty: resolv.conf decides

	RelayPasswords        string // "" none
	RelayPasswordCommand  string // "" or account, colon, absolute path with arguments
	HostsAllow, HostsDeny string // "" none
	Forbidden             Action // of clients that those deny
	Paranoid              bool   // refuse clients without a name
	CheckHelo             bool   // refuse clients that call themselves as we are called
	VerifyFrom            bool   // look at strangers' reverse-paths
	NoDaemon              bool   // refuse the null sender
	SoftDeny              bool   // refuse for now where a check refuses for good
	DNSCheck              bool   // refuse clients whose name does not lead back
	LocalMX               bool   // clients for whose name we are an exchanger may relay
	Banner                string // "" none
	Debug                 bool   // the verb DEBUG
	Relay                 string // RelayBS, "yes" or "no"
	Audit                 bool   // write down what clients say and are answered

	Coal              time.Duration // for which a client that was refused too often may not connect; 0 never mind
	Size              int64         // octets; 0 no limit
	Timeout           time.Duration // of a session that waits
	Clients           int           // sessions in all; 0 no limit
	ClientsPerAddress int           // 0 no limit
	GreetDelay        time.Duration // before the greeting of a stranger
	EarlyTalk         string        // Reject or Tag
	SoftErrors        int           // before each reply to a stranger waits
	ErrorDelay        time.Duration // that wait
	HardErrors        int           // before a session ends; 0 no limit
	RateTime          time.Duration // in which a stranger's address may have what follows; each 0 no limit
	RateConnections   int
	RateMessages      int
	RateRecipients    int
	RateUnknown       int
	RateLogins        int     // refused logins of a stranger's address in an hour; 0 no limit
	Load              float64 // 1-minute load average; 0 off
	MinFree           int64   // octets; 0 off
	Hops              int
	QReturn           time.Duration
	BareNewline       string        // Normalize or Reject
	QueueInterval     time.Duration // 0 none
	Immediate         bool          // sendmail's messages are tried at once
	QueueOnly         bool          // take mail and keep it
	QueueView         string        // ViewOwn or ViewAll
	EscapeFrom        string        // InFiles, "yes" or "no"

	Log       []string // each "stderr", "stdout", "syslog" or "file:" and an absolute path; never empty
	LogFormat string   // "text" or "json"

	Greylist           string        // GreylistOff, GreylistOn or GreylistShadow
	Delay              time.Duration // of strangers by it
	GreylistFrom       bool          // by whole senders
	GreylistNetwork    string        // "no", or two lengths as 24/64
	GreylistPools      []string      // domain names, and PoolsShipped; or NoPools alone
	GreylistNullWindow time.Duration // 0 for ever
	GreylistWritten    bool          // who was written to passes
	GreylistAfter      int           // so much good mail; 0 never
	GreylistClients    []string      // each an address or a prefix
	GreylistSenders    []string      // each an address or @domain, in lower case
	GreylistRecipients []string      // as those
	GreylistAge        time.Duration
	GreylistFailed     string // GreylistPass or GreylistDefer

	Spam       Action        // of mail that is found bad
	Safe       bool          // who has logged in is not looked at
	AV         string        // "" or an absolute path with arguments
	AVUser     string        // an account, or Auto
	AVTime     time.Duration // for a message
	AVInfected int           // exit status, 1 to 255

	Filters            []filterline.Filter
	FiltersForSendmail bool // mail of programs of this machine is shown to them too

	origins []string // by the option's place in the table
	notes   []string // what was odd in the file
}

// InFiles is Config.EscapeFrom for mailboxes and files alone.
const InFiles = "mbox"

// What Config.VHostMailbox may hold, besides an LMTP server.
const (
	VHostFile    = "mbox"
	VHostMaildir = "maildir"
)

// What Config.Greylist may hold.
const (
	GreylistOff    = "off"
	GreylistOn     = "on"
	GreylistShadow = "shadow"
)

// What Config.GreylistFailed may hold.
const (
	GreylistPass  = "pass"
	GreylistDefer = "defer"
)

// Words in Config.GreylistPools.
const (
	PoolsShipped = "shipped"
	NoPools      = "none"
)

// LoginSystem is the word for the machine's accounts in Config.Auth.
const LoginSystem = "system"

// NoTLS is what stands in Config.TLSCert where there is no TLS.
const NoTLS = "none"

// RelayBS is Config.Relay for sendmail -bs alone.
const RelayBS = "bs"

// What Config.QueueView may hold.
const (
	ViewOwn = "own"
	ViewAll = "all"
)

// What Config.BareNewline may hold.
const (
	Normalize = "normalize"
	Tag       = "tag"
	Reject    = "reject"
)

// Options says where the configuration comes from.
type Options struct {
	File string   // -C; "" means DefaultFile
	Sets []string // -o in the order given, each name or name=value
	UID  int      // real uid of the caller: decides what -o may set
}

// Load reads the file, then applies the -o settings. The error is an Errors
// with everything that is wrong, not only the first thing.
//
// The Config is never nil. With an error it holds what was right and defaults
// for the rest, and serves for one purpose: to find the socket of a server
// that already runs.
func Load(o Options) (*Config, error) {
	return load(o)
}

// Setting is one option as `postoffice config` shows it.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`  // parses to the same value again
	Origin string `json:"origin"` // "default", "FILE:LINE" or "-o"
}
