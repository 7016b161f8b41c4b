package privsep

// Names says where accounts are found. The zero value is the machine's own.
type Names struct {
	Passwd   string // "": /etc/passwd
	NSSwitch string // "": /etc/nsswitch.conf
	Getent   string // "": getent in /usr/bin or /bin
}
