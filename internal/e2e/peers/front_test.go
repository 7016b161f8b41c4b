//go:build e2e

package peers

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestBalancer has HAProxy in front, with both versions of the PROXY protocol: its health
// checks find the server and leave no line in the log, who comes through it is known by
// their own address, and has none of the rights that the balancer has.
func TestBalancer(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.", "client.test. IN A 10.77.0.4", "4.0.77.10.in-addr.arpa. IN PTR client.test.",
		"two.test. IN A 10.77.0.9", "two.test. IN MX 10 two.test.")
	one, balancer, client := l.Host("one.test"), l.Host("balancer.test"), l.Host("client.test")
	s := one.Install("proxy-from="+balancer.IP, "trusted="+balancer.IP, "clients-per-address=1")
	root, libraries := lan.UnpackAll(t, "haproxy")
	conf := balancer.Path("haproxy.cfg")
	lan.WriteFile(t, conf, `defaults
    mode tcp
    timeout connect 10s
    timeout client 1m
    timeout server 1m
listen second
    bind `+balancer.IP+`:25
    option smtpchk EHLO balancer.test
    server one `+one.IP+`:25 send-proxy-v2 check inter 100ms fall 1 rise 1
listen first
    bind `+balancer.IP+`:26
    server one `+one.IP+`:25 send-proxy check inter 100ms fall 1 rise 1
`)
	balancer.Start(balancer.Command(context.Background(), "env", "LD_LIBRARY_PATH="+libraries, filepath.Join(root, "usr/sbin/haproxy"), "-db", "-f", conf))
	balancer.Listening("25")
	greets := func(port string) bool {
		conn, err := client.Dial(balancer.IP + ":" + port)
		if err != nil {
			return false
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		d, err := lan.NewDialogue(conn, "client.test")
		if err == nil {
			d.Quit()
		}
		return err == nil
	}
	lan.Until(t, time.Minute, "HAProxy finds no server", func() bool { return !greets("25") && !greets("26") })
	s.Serve()
	for _, port := range []string{"25", "26"} {
		lan.Until(t, time.Minute, "HAProxy finds the server", func() bool { return greets(port) })
		client.Swaks(balancer.IP+":"+port, "--ehlo", "client.test", "--from", "writer@client.test", "--to", "alice@one.test", "--header", "Subject: by port "+port)
		if out, err := client.Try("swaks", "--server", balancer.IP, "--port", port, "--from", "writer@client.test", "--to", "alice@two.test"); err == nil || !strings.Contains(out, "550 5.7.1") {
			t.Errorf("relaying through port %s of the balancer, which is trusted: %v\n%s", port, err, out)
		}
		lan.Until(t, 20*time.Second, "the message is there, from the client", func() bool {
			return lan.Contains(s.Mailbox("alice"), "Subject: by port "+port) && lan.Contains(s.Mailbox("alice"), "(client.test ["+client.IP+"])")
		})
	}
	log, err := os.ReadFile(s.Log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), "client=client.test["+client.IP+"]:") || !strings.Contains(string(log), "through "+balancer.IP+":") {
		t.Errorf("the log doesn't say who came by which way:\n%s", log)
	}
	if strings.Contains(string(log), "client=unknown["+balancer.IP+"]") {
		t.Errorf("the log has the balancer's looks:\n%s", log)
	}
}

// TestSwaksXClient has swaks pass a client on: from who is named in the options it is the
// client for everything, from anybody else it is refused.
func TestSwaksXClient(t *testing.T) {
	l := lan.New(t)
	l.DNS("one.test. IN A 10.77.0.2", "one.test. IN MX 10 one.test.")
	one, front, stranger := l.Host("one.test"), l.Host("front.test"), l.Host("stranger.test")
	s := one.Install("xclient-from=" + front.IP)
	s.Serve()
	told := []string{"--from", "writer@client.test", "--to", "alice@one.test", "--xclient-name", "client.test", "--xclient-addr", "192.0.2.7",
		"--xclient-port", "40000", "--xclient-helo", "mail.client.test", "--xclient-proto", "ESMTP", "--xclient-login", "writer"}
	front.Swaks(one.IP+":25", append([]string{"--ehlo", "mail.client.test"}, told...)...)
	lan.Until(t, 20*time.Second, "the message is there, from the client", func() bool {
		return lan.Contains(s.Mailbox("alice"), "Received: from mail.client.test (client.test [192.0.2.7])")
	})
	if !lan.Says(s.Log, "client=client.test[192.0.2.7]:40000") || !lan.Says(s.Log, "user=writer reason=\"through "+front.IP+":") {
		log, _ := os.ReadFile(s.Log)
		t.Errorf("the log doesn't say who came by which way:\n%s", log)
	}
	out, err := stranger.Try(append([]string{"swaks", "--server", one.IP}, told...)...)
	if err == nil || !strings.Contains(out, "did not advertise XCLIENT") {
		t.Errorf("anybody else is offered it: %v\n%s", err, out)
	}
	conn, err := stranger.Dial(one.IP + ":25")
	if err != nil {
		t.Fatal(err)
	}
	d, err := lan.NewDialogue(conn, "stranger.test")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Quit()
	if err := d.Expect("XCLIENT ADDR="+front.IP, "550 5.7.0"); err != nil {
		t.Errorf("anybody else: %v", err)
	}
}
