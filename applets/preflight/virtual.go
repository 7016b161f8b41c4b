package preflight

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"postoffice/applets/config"
	"postoffice/deliver/local/mailbox"
	"postoffice/internal/disk"
	"postoffice/vhost"
)

const (
	maxDomains = 500 // virtual domains that are looked at, some 0.1 ms each: a start isn't to take seconds
	maxTold    = 20  // findings about them
)

// Virtual are the virtual domains of a server.
type Virtual struct {
	Dir, User, Mailbox, Quota config.Path // the options

	Domains *vhost.Domains
	Store   *vhost.Store
	Boxes   mailbox.Virtual
	Bounded bool // Quota is set
	// AsUser runs a function that opens files with the vhost-user's rights; nil: Boxes
	// says why there is no such account.
	AsUser func(func() error) error
}

// Findings are what keeps mail for virtual domains waiting, but for the lines of their
// list, which those who read it tell.
func (v Virtual) Findings(ctx context.Context, w Who) (all []Finding) {
	find := func(g Gravity, p config.Path, err error, hint string) { all = append(all, Found(g, p, err, hint)) }
	if v.Dir.Name == "" {
		return nil
	}
	if err := isDir(v.Dir.Name); err != nil {
		if v.Dir.Named || !errors.Is(err, fs.ErrNotExist) {
			find(Waits, v.Dir, at("open", v.Dir.Name, err), "mkdir -p "+v.Dir.Name+", or name the right one; until then there are no virtual domains")
		}
		return all
	}
	domains, err := v.Domains.Active()
	if err != nil || len(domains) == 0 {
		return all
	}
	if v.AsUser == nil {
		find(Waits, v.User, errors.New(v.Boxes.Missing), "until then mail for virtual domains waits")
		return all
	}
	lmtp := v.Mailbox.Name != config.VHostFile && v.Mailbox.Name != config.VHostMaildir
	if lmtp {
		if f := mailboxPlace(v.Mailbox, w); f != nil {
			all = append(all, *f)
		}
		if v.Bounded {
			find(Odd, v.Quota, errors.New("nobody looks at it: the server of vhost-mailbox has the mailboxes"), "give that server a bound of its own, as Dovecot's quota, and take this option out")
		}
	}
	return append(all, v.each(ctx, domains, lmtp)...)
}

// each are the findings about single domains.
func (v Virtual) each(ctx context.Context, domains []string, lmtp bool) (all []Finding) {
	wrong := 0
	for _, domain := range domains[:min(len(domains), maxDomains)] {
		var files, boxes error
		v.AsUser(func() error {
			if files = v.Store.Check(ctx, domain); !lmtp {
				boxes = v.Boxes.Check(disk.OS(), domain)
			}
			return nil
		})
		for _, err := range []error{files, boxes} {
			if err == nil {
				continue
			}
			if wrong++; wrong <= maxTold {
				all = append(all, Found(Waits, v.Dir, err, "until that is mended mail for "+domain+" waits"))
			}
		}
	}
	if wrong > maxTold {
		all = append(all, Found(Waits, v.Dir, fmt.Errorf("%d more files or directories of virtual domains can't be used", wrong-maxTold), "mend those that are told, and look again"))
	}
	return all
}
