package server

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"postoffice/applets/certs"
	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/privsep"
	"postoffice/applets/privsep/signer"
	"postoffice/applets/service"
	"postoffice/applets/smtpd"
	"postoffice/applets/sysexits"
	"postoffice/internal/disk"
	"postoffice/internal/maillog"
)

const smtpPort = 25 // where servers bring mail

// noTLS says that there is to be none for clients.
func noTLS(conf *config.Config) bool { return slices.Contains(conf.TLSCert, config.NoTLS) }

// checkTLS says which options of TLS don't fit together.
func checkTLS(conf *config.Config) error {
	wrong := func(option, text, hint string) error {
		return cmdline.ExitWith(sysexits.Config, errors.New(conf.Located(option, text)), hint)
	}
	switch n, keys := len(conf.TLSCert), len(conf.TLSKey); {
	case noTLS(conf) && n > 1:
		return wrong("tls-cert", "tls-cert=none stands beside a certificate", "take one of them out")
	case noTLS(conf) && conf.MSPS != 0:
		return wrong("msps", "msps is a port where TLS comes first, and tls-cert=none is no TLS", "take one of them out")
	case keys > 0 && keys != n && !noTLS(conf):
		return wrong("tls-key", fmt.Sprintf("tls-key has %d files and tls-cert %d", keys, n), "name the key of each certificate, in the same order, or no key where each stands in the file of its certificate")
	case conf.MSP == smtpPort || conf.MSPS == smtpPort:
		option := "msp"
		if conf.MSPS == smtpPort {
			option = "msps"
		}
		return wrong(option, "it is port 25, where other servers bring mail: all of it would be refused", "msp=yes is port 587 and msps=yes 465; listen keeps 25")
	case conf.MSP != 0 && conf.MSP == conf.MSPS:
		return wrong("msps", fmt.Sprintf("msp and msps are both port %d", conf.MSP), "give one of them another port, as msps=465")
	}
	return nil
}

// addresses are those to listen on for each service. A port that is named for more than
// one is that of submission.
func addresses(conf *config.Config) map[string][]string {
	all := map[string][]string{}
	taken := map[string]bool{}
	add := func(name, address string) {
		if !taken[address] {
			taken[address] = true
			all[name] = append(all[name], address)
		}
	}
	for name, port := range map[string]int{service.MSP: conf.MSP, service.MSPS: conf.MSPS} {
		for _, address := range conf.Listen {
			if host, _, err := net.SplitHostPort(address); port != 0 && err == nil {
				add(name, net.JoinHostPort(host, strconv.Itoa(port)))
			}
		}
	}
	for _, address := range conf.Listen {
		add("", address)
	}
	return all
}

// listenAll binds all ports, or none.
func listenAll(ctx context.Context, conf *config.Config, log *slog.Logger) ([]service.Listener, error) {
	var all []service.Listener
	wanted := addresses(conf)
	for _, name := range []string{"", service.MSP, service.MSPS} {
		some, err := service.Listen(ctx, name, wanted[name], log)
		if err != nil {
			service.CloseListeners(all)
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// kindOf is what sessions a listener has. An inherited one may have a port of ours.
func (s *settings) kindOf(l service.Listener) smtpd.Kind {
	_, port, _ := net.SplitHostPort(l.Address)
	switch {
	case l.Name == service.Submission:
		return smtpd.Local
	case l.Service == service.MSP, s.conf.MSP != 0 && port == strconv.Itoa(s.conf.MSP):
		return smtpd.Submission
	case l.Service == service.MSPS, s.conf.MSPS != 0 && port == strconv.Itoa(s.conf.MSPS):
		return smtpd.SubmissionTLS
	}
	return smtpd.Relay
}

// certOptions are what the certificates are read by.
func certOptions(conf *config.Config, log *slog.Logger) certs.Options {
	o := certs.Options{Dir: conf.DBDir, FS: disk.OS(), Hostname: conf.Hostname, Check: signer.Check, Log: log}
	if node, err := os.Hostname(); err == nil && (conf.Hostname == "auto" || conf.Hostname == "literal") {
		o.Hostname = node
	}
	if o.Off = noTLS(conf); !o.Off {
		o.Certs, o.Keys = conf.TLSCert, conf.TLSKey
	}
	return o
}

// openCerts reads the certificates of a server that stays, or that inetd started for one
// client, and looks at them from then on.
func (d *daemon) openCerts(ctx context.Context) {
	if d.onePass && !d.network {
		return
	}
	d.renew = make(chan struct{}, 1)
	d.certs = certs.Open(certOptions(d.conf, d.log))
	for _, text := range d.certs.Wrong() {
		d.env.Say("warning: " + d.conf.Located("tls-cert", text) + "; until it is mended the certificate is left out")
	}
	go d.certs.Watch(ctx, d.renewed)
}

// offerOwn serves with certificates whose keys are in this process.
func (d *daemon) offerOwn(ctx context.Context, s *system) {
	d.openCerts(ctx)
	if d.certs != nil {
		s.offerPairs(d.certs.Pairs())
	}
}

// renewed says that there are other certificates.
func (d *daemon) renewed() {
	select {
	case d.renew <- struct{}{}:
	default: // it was said already
	}
}

// reloadCerts reads them again.
func (d *daemon) reloadCerts(conf *config.Config) {
	if d.certs != nil && d.certs.Reload(certOptions(conf, d.log)) {
		d.renewed()
	}
}

// certificates are what the master hands on.
func (d *daemon) certificates() privsep.Certificates {
	pairs := d.certs.Pairs()
	c := privsep.Certificates{Chains: certs.Pack(pairs)}
	for _, p := range pairs {
		key, err := p.PKCS8()
		if err != nil {
			d.log.LogAttrs(context.Background(), slog.LevelError, "certificate refused", maillog.File(p.File), maillog.Err(err))
			return privsep.Certificates{}
		}
		c.Keys = append(c.Keys, key)
	}
	return c
}

// offerPairs serves with keys of this process, which is its user's alone.
func (s *system) offerPairs(pairs []certs.Pair) {
	if len(pairs) == 0 {
		return
	}
	set, err := certs.NewSet(certs.Pack(pairs), func(n int, _ crypto.PublicKey) crypto.Signer { return pairs[n].Key })
	if err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelError, "no certificate", maillog.Err(err))
		return
	}
	s.offer.Put(set)
}

// oldSignerWait is how long a signer stays whose certificates were followed by others:
// handshakes may have begun with them.
const oldSignerWait = time.Minute

// takeCertificates serves with what the master has sent. hung tells it of a signer that
// answers nobody.
func (s *system) takeCertificates(ctx context.Context, c privsep.NewCertificates, hung func()) {
	client, err := signer.NewClient(c.Signer)
	var set *certs.Set
	if err == nil {
		set, err = certs.NewSet(c.Chains, client.Key)
	}
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelError, "no certificate", maillog.Err(err))
		return
	}
	s.offer.Put(set)
	if s.leaveSigner != nil {
		s.leaveSigner()
	}
	s.leaveSigner = func() { time.AfterFunc(oldSignerWait, func() { client.Close() }) }
	s.work.Go(func() {
		select {
		case <-client.Gone():
		case <-ctx.Done():
			return // sessions go on for a while; the signer ends with this process
		}
		if s.offer.Drop(set) && client.HasHung() {
			hung()
		}
		signed, failed := client.Counts()
		s.log.LogAttrs(ctx, slog.LevelInfo, "signer closed", slog.Int64("signed", signed), slog.Int64("failed", failed))
	})
}

// CheckCertificates returns what is wrong with the certificates of a configuration, and
// what is to be told of them.
func CheckCertificates(conf *config.Config) (wrong []error, notes []string) {
	if noTLS(conf) || checkTLS(conf) != nil {
		return nil, nil
	}
	if len(conf.TLSCert) == 0 {
		return nil, []string{"note: tls-cert is not set: clients are offered TLS with a self-signed certificate, which they can't verify"}
	}
	for i, name := range conf.TLSCert {
		key := name
		if len(conf.TLSKey) > 0 {
			key = conf.TLSKey[i]
		}
		p, err := certs.Read(name, key, signer.Check)
		switch {
		case errors.Is(err, fs.ErrPermission) && os.Getuid() != 0:
			notes = append(notes, "note: "+conf.Located("tls-cert", err.Error())+": root alone can check it")
			continue
		case err != nil:
			wrong = append(wrong, cmdline.ExitWith(sysexits.Config, errors.New(conf.Located("tls-cert", err.Error())), "until it is mended the certificate is left out, or the one that was read before stays"))
			continue
		}
		if p.Exposed != "" {
			notes = append(notes, "warning: "+p.Exposed)
		}
		if text := certs.EndsSoon(p, time.Now()); text != "" {
			notes = append(notes, "warning: "+name+": "+text)
		} else {
			notes = append(notes, fmt.Sprintf("note: %s: for %s, it ends in %d days", name, p.Names(), p.Days(time.Now())))
		}
	}
	return wrong, notes
}
