package deliver

import (
	"log/slog"
	"time"

	"postoffice/deliver/local"
	"postoffice/deliver/masquerade"
	"postoffice/deliver/remote"
	"postoffice/deliver/route"
	"postoffice/spool"
)

// Options are the settings of a Runner.
type Options struct {
	route.Options // Users is Local
	Queue         *spool.Queue
	Local         local.Mailer
	Escape        local.Escape // where lines that look like a From_ line are quoted

	QReturn  time.Duration // a message is returned after this long; 0 means 3 days, negative after one attempt
	StopTime time.Duration // what transactions get to end in when the runner is to stop; 0: 15 s
	Hops     int           // more Received fields than this are a loop; 0 means 100
	Remote   remote.Options
	Senders  *masquerade.Names // what stands for senders of this machine's own mail elsewhere; nil: nothing does
	Watch    Watcher           // nil: nobody looks
	// WholeFits says whether a report may carry a message of so many octets back, and not
	// its header alone; nil: always.
	WholeFits func(octets int64) bool
	// OpenView says that reports tell everybody what stands in users' files.
	OpenView bool
	Log      *slog.Logger     // nil: no log
	Now      func() time.Time // the wall clock; nil: time.Now
}

const (
	defaultQReturn = 3 * 24 * time.Hour
	defaultHops    = 100
)

// filled returns o with its defaults in place.
func (o Options) filled() Options {
	o.Users = o.Local
	if o.QReturn == 0 {
		o.QReturn = defaultQReturn
	}
	if o.Hops <= 0 {
		o.Hops = defaultHops
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
