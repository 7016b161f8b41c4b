package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/resolver"
)

// securely sends a message that needs TLS to a hop, as a worker does.
func securely(t *testing.T, h Hop, o Options, m Message) []outcome.Outcome {
	t.Helper()
	s, err := Open(t.Context(), h, o)
	if err != nil {
		return slices.Repeat([]outcome.Outcome{outcome.Of(err)}, len(m.Recipients))
	}
	defer s.Close()
	results, _ := s.Send(t.Context(), m)
	return results
}

// obedient is a host that takes all that needs TLS, with a certificate for names.
func obedient(t *testing.T, roots *x509.CertPool, names ...string) *testenv.Sink {
	cert, _ := testenv.Certificate(t, names...)
	roots.AddCert(cert.Leaf)
	return &testenv.Sink{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Extensions: []string{"PIPELINING", "REQUIRETLS"}}
}

// TestRequireTLS: what needs TLS goes to a host that is who it should be, has TLS and
// obeys REQUIRETLS too, and comes back where there is none; what may pass is waited for;
// and a report goes also where it can't be had (RFC 8689 sections 4.2.1 and 5).
func TestRequireTLS(t *testing.T) {
	stale, staleRoots := testenv.Certificate(t, "mx.example") // its time is not that of the bubbles below
	for _, tt := range []struct {
		name    string
		change  func(s *testenv.Sink, mx *Target, o *Options)
		want    string // of a message, with its status
		reports string // of a report
		mail    string // MAIL of the report
	}{
		{"all is well", nil, "delivered 250", "delivered 250", "MAIL FROM:<> REQUIRETLS"},
		{"an address", func(_ *testenv.Sink, mx *Target, _ *Options) { mx.Host = "[192.0.2.1]" }, "delivered 250", "delivered 250", "MAIL FROM:<> REQUIRETLS"},
		{"no TLS", func(s *testenv.Sink, _ *Target, _ *Options) { s.TLS = nil }, "bounced 550 5.7.10", "delivered 250", "MAIL FROM:<>"},
		{"HELO alone", func(s *testenv.Sink, _ *Target, _ *Options) { s.Answer = at("EHLO", reply("500 5.5.1 what")) }, "bounced 550 5.7.10", "delivered 250", "MAIL FROM:<>"},
		{"no REQUIRETLS", func(s *testenv.Sink, _ *Target, _ *Options) { s.Extensions = []string{"PIPELINING"} }, "bounced 550 5.7.30", "delivered 250", "MAIL FROM:<>"},
		{"REQUIRETLS in the clear alone", func(s *testenv.Sink, _ *Target, _ *Options) {
			s.Answer = func(ev testenv.Event) testenv.Action {
				if ev.Verb == "EHLO" && ev.TLS {
					return reply("250-mx.example\n250 PIPELINING")
				}
				return testenv.Action{}
			}
		}, "bounced 550 5.7.30", "delivered 250", "MAIL FROM:<>"},
		{"another's certificate", func(_ *testenv.Sink, mx *Target, _ *Options) { mx.Host = "mail.example" }, "bounced 550 5.7.10", "delivered 250", "MAIL FROM:<> REQUIRETLS"},
		{"an unknown authority", func(_ *testenv.Sink, _ *Target, o *Options) { o.Roots = staleRoots }, "bounced 550 5.7.10", "delivered 250", "MAIL FROM:<> REQUIRETLS"},
		{"a name that nobody vouches for", func(_ *testenv.Sink, mx *Target, _ *Options) { mx.Vouched = false }, "bounced 550 5.7.10", "delivered 250", "MAIL FROM:<> REQUIRETLS"},
		{"the certificate is not valid now", func(s *testenv.Sink, _ *Target, o *Options) {
			s.TLS, o.Roots = &tls.Config{Certificates: []tls.Certificate{stale}}, staleRoots
		}, "deferred", "deferred", ""},
		{"no authority on this machine", func(_ *testenv.Sink, _ *Target, o *Options) { o.Roots = nil }, "deferred", "deferred", ""},
		{"TLS not now", func(s *testenv.Sink, _ *Target, _ *Options) { s.Answer = at("STARTTLS", reply("454 4.7.0 not now")) }, "deferred", "deferred", ""},
		{"a handshake that breaks", func(s *testenv.Sink, _ *Target, _ *Options) {
			s.Answer = at("STARTTLS", testenv.Action{Raw: "220 go\r\n", Drop: true})
		}, "deferred", "deferred", ""},
		{"busy", func(s *testenv.Sink, _ *Target, _ *Options) { s.Answer = at("", reply("421 4.3.2 busy")) }, "deferred 421", "deferred 421", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, o, mx := newWorld(t), Options{}, targets()[0]
				o = w.options()
				o.Roots, mx.Vouched = x509.NewCertPool(), true
				sink := obedient(t, o.Roots, "mx.example", "192.0.2.1")
				if tt.change != nil {
					tt.change(sink, &mx, &o)
				}
				w.sink(mxAddr, sink)
				for _, null := range []bool{false, true} {
					m, want, mail := message(plain, "a"), tt.want, "MAIL FROM:<s@us.example> REQUIRETLS"
					m.Params = []smtp.Param{{Name: smtp.ParamTLS}}
					if null {
						m.ReversePath, want, mail = smtp.Path{}, tt.reports, tt.mail
					}
					before := len(sink.Messages())
					h := HopTo([]Target{mx}).Secured(Needs(m.Params, m.ReversePath))
					results := securely(t, h, o, m)
					got := words(results)
					if results[0].Action == outcome.Bounced {
						got += " " + results[0].Reply.Status
					}
					if got != want {
						t.Errorf("%s, want %s: %+v", got, want, results)
					}
					taken := sink.Messages()[before:]
					if delivered := strings.HasPrefix(want, "delivered"); len(taken) == 1 != delivered || delivered && taken[0].Mail != mail {
						t.Errorf("the host has %+v, want %q", taken, mail)
					}
					if verified := strings.HasSuffix(results[0].TLS, " verified"); verified != (want == "delivered 250" && tt.want == want) && results[0].Action == outcome.Delivered {
						t.Errorf("TLS is told as %q", results[0].TLS)
					}
				}
			})
		})
	}
}

// TestRequireTLSHosts: the next host may do what one doesn't; and while one may yet be
// reached nothing comes back.
func TestRequireTLSHosts(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		second     func(w *world, s *testenv.Sink)
	}{
		{"the second does", "delivered 250", func(w *world, s *testenv.Sink) { w.sink(mx2Addr, s) }},
		{"the second is away", "deferred", func(w *world, _ *testenv.Sink) { w.peers[mx2Addr] = refused }},
		{"neither does", "bounced 550", func(w *world, _ *testenv.Sink) { w.sink(mx2Addr, &testenv.Sink{}) }},
	} {
		for _, order := range [][]int{{0, 1}, {1, 0}} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.options()
				o.Roots = x509.NewCertPool()
				w.sink(mxAddr, &testenv.Sink{})
				tt.second(w, obedient(t, o.Roots, "mx2.example"))
				list := targets()
				for i := range list {
					list[i].Vouched = true
				}
				h := HopTo([]Target{list[order[0]], list[order[1]]}).Secured(Required)
				m := message(plain, "a")
				m.Params = []smtp.Param{{Name: smtp.ParamTLS}}
				if got := words(securely(t, h, o, m)); got != tt.want {
					t.Errorf("%s, in the order %v: %s, want %s", tt.name, order, got, tt.want)
				}
			})
		}
	}
}

// TestSecuredKeys: what needs TLS has sessions of its own, and a host that somebody
// vouches for is another hop than the same one without.
func TestSecuredKeys(t *testing.T) {
	plain, known := HopTo(targets()), targets()
	known[0].Vouched = true
	keys := map[string]bool{}
	for _, h := range []Hop{plain, plain.Secured(Required), plain.Secured(Wanted), HopTo(known).Secured(Required)} {
		keys[h.Key] = true
	}
	if len(keys) != 4 || plain.Secured(Opportunistic).Key != plain.Key {
		t.Errorf("keys %v", keys)
	}
	turned := targets()
	slices.Reverse(turned)
	if a, b := plain.Secured(Required).Key, HopTo(turned).Secured(Required).Key; a != b {
		t.Errorf("the order of equals makes two hops: %q and %q", a, b)
	}
}

// TestVouched: which names of hosts nobody can have forged.
func TestVouched(t *testing.T) {
	for domain, want := range map[string]string{
		"signed.example": "true", "inner.example": "true", "itself.example": "true", "bare.example": "true",
		"outer.example": "false", "ner.example": "false", "[198.51.100.1]": "true",
	} {
		dns := fakeDNS{
			mx: map[string][]resolver.MX{
				"signed.example": {{Host: "mx.elsewhere.example", Signed: true}}, "outer.example": {{Host: "mx.elsewhere.example"}},
				"inner.example": {{Host: "MX.Inner.example"}}, "ner.example": {{Host: "mx.inner.example"}}, "itself.example": {{Host: "itself.example"}},
			},
			addrs: map[string]string{"mx.elsewhere.example": "198.51.100.1", "MX.Inner.example": "198.51.100.2", "mx.inner.example": "198.51.100.2", "itself.example": "198.51.100.3", "bare.example": "198.51.100.4"},
		}
		r := Router{Resolver: dns, Hostname: "us.example"}
		list, err := r.NextHops(context.Background(), domain)
		if err != nil || len(list) != 1 || list[0].Vouched != (want == "true") {
			t.Errorf("%s: %+v, %v, want vouched %s", domain, list, err, want)
		}
	}
}

// TestPoolRequireTLS: a host that can't have what needs TLS is not down, neither for
// such mail nor for other.
func TestPoolRequireTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, false)
		defer p.end()
		sink := p.sink("192.0.2.1:25", &testenv.Sink{})
		h := hopOf("192.0.2.1")
		h.Targets[0].Vouched = true
		p.Add(p.job(h.Secured(Required), "a", 101))
		synctest.Wait()
		p.Add(p.job(h.Secured(Required), "b", 1))
		synctest.Wait()
		p.Add(p.job(h, "c", 1))
		synctest.Wait()
		p.want("a: 0-100 bounced 550", "a: 100-101 bounced 550", "b: 0-1 bounced 550", "c: 0-1 delivered 250")
		if n := len(sink.Messages()); n != 1 {
			t.Errorf("%d messages", n)
		}
	})
}
