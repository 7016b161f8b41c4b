//go:build e2e

package programs

import (
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// dovecotTokens knows no password: whether a token is good another server says.
const dovecotTokens = `
protocols = lmtp
base_dir = /run/dovecot
log_path = LOG
mail_location = maildir:~/Maildir
ssl = no
auth_mechanisms = xoauth2 oauthbearer
auth_failure_delay = 0
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = /etc/dovecot-oauth2.conf.ext
}
userdb {
  driver = passwd
}
service auth {
  inet_listener {
    address = 127.0.0.1
    port = 12345
  }
}
`

// issuer says which token is good, and for whom.
type issuer struct {
	good  atomic.Value // string
	asked atomic.Int32
}

// ServeHTTP answers as RFC 7662 says.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.asked.Add(1)
	w.Header().Set("Content-Type", "application/json")
	if r.FormValue("token") == i.good.Load() {
		io.WriteString(w, `{"active": true, "username": "alice@one.test", "scope": "mail"}`)
		return
	}
	io.WriteString(w, `{"active": false}`)
}

// TestSmarthostTokens: a program prints the tokens for a smarthost that wants one, by both
// mechanisms for that. One that is refused keeps the mail, and the next one sends it.
func TestSmarthostTokens(t *testing.T) {
	host, smart, ca := beside(t, "smart.test")
	tokens := &issuer{}
	tokens.good.Store("ya29.first")
	server := http.Server{Handler: tokens}
	listener := smart.Listen("8080")
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	byDovecot(smart, dovecotTokens, map[string]string{"/etc/dovecot-oauth2.conf.ext": "introspection_mode = post\nintrospection_url = http://" + smart.IP + ":8080/introspect\n" +
		"username_attribute = username\nactive_attribute = active\nactive_value = true\nforce_introspection = yes\n"})

	token := host.Path("token")
	command := "relay-password-command=alice:/bin/cat " + token
	one := host.Install("relay-tls="+ca, command, "relay-host=submissions://alice@one.test;auth=XOAUTH2@smart.test")
	lan.WriteFile(t, token, "ya29.first\n")
	one.Serve()
	box := smart.Path("pf", "mail", "bob")
	for _, relay := range []string{"submissions://alice@one.test;auth=XOAUTH2@smart.test", "submission://alice@one.test;auth=OAUTHBEARER@smart.test"} {
		reload(one, "relay-tls="+ca, command, "relay-host="+relay)
		one.Submit("bob", "Subject: "+relay+"\n\nhello\n", "-i", "bob@far.test")
		lan.Until(t, 60*time.Second, relay+" takes it", func() bool { return lan.Contains(box, "Subject: "+relay+"\n") })
	}
	if n := tokens.asked.Load(); n < 2 {
		t.Errorf("Dovecot has asked about %d tokens", n)
	}

	tokens.good.Store("ya29.second") // the first one is over
	reload(one, "relay-tls="+ca, command, "relay-host=submissions://alice@one.test;auth=OAUTHBEARER@smart.test")
	one.Submit("bob", "Subject: late\n\nhello\n", "-i", "bob@far.test")
	lan.Until(t, 60*time.Second, "it waits", func() bool {
		return strings.Contains(one.Applet("mailq"), "(login of alice@one.test at smart.test refused: ")
	})
	lan.WriteFile(t, token, "ya29.second\n")
	lan.Until(t, 3*time.Minute, "it goes with the next token", func() bool { return lan.Contains(box, "Subject: late\n") })
	log, _ := os.ReadFile(one.Log)
	if strings.Contains(string(log), "ya29") {
		t.Error("the log has a token")
	}
}
