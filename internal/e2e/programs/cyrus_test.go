//go:build e2e

package programs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postoffice/internal/e2e/lan"
)

// TestSmarthostByCyrus: mail goes through a Postfix that demands a login and has Cyrus SASL
// check it, at both of its ports and by each mechanism of ours that it offers.
func TestSmarthostByCyrus(t *testing.T) {
	host, smart, ca := beside(t, "smart.test")
	sasl := smart.Path("pf", "etc", "sasl") // where Debian's Postfix looks
	lan.WriteFile(t, filepath.Join(sasl, "smtpd.conf"), "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: "+sasl+"/sasldb2\nmech_list: SCRAM-SHA-256 PLAIN LOGIN CRAM-MD5\n")
	makeUser := filepath.Join(lan.Unpack(t, "sasl2-bin"), "usr/sbin/saslpasswd2")
	var plugins []string
	for _, pkg := range []string{"libsasl2-modules", "libsasl2-modules-db"} {
		found, err := filepath.Glob(filepath.Join(lan.Unpack(t, pkg), "usr/lib/*/sasl2"))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v, %q", pkg, err, found)
		}
		plugins = append(plugins, found[0])
	}
	path := "SASL_PATH=" + strings.Join(plugins, ":")
	smart.Run("env", path, "sh", "-euc", `echo 'open sesame' | "$1" -p -c -f "$2/sasldb2" -u one.test alice && chown postfix "$2/sasldb2"`, "sh", makeUser, sasl)
	demanding(smart, "smtpd_sasl_type=cyrus", "smtpd_sasl_path=smtpd",
		"import_environment=MAIL_CONFIG TZ LANG=C "+path+" LD_LIBRARY_PATH="+filepath.Join(lan.Unpack(t, "postfix"), "usr/lib/postfix"))

	one := host.Install("relay-passwords="+host.Path("passwords"), "relay-tls="+ca, "relay-host=submissions://alice@one.test@smart.test")
	password(one, "open sesame")
	one.Serve()
	for _, tt := range []struct{ relay, method string }{
		{"submissions://alice@one.test@smart.test", "SCRAM-SHA-256"}, // the best that both have
		{"submission://alice@one.test;auth=SCRAM-SHA-256@smart.test", "SCRAM-SHA-256"},
		{"submission://alice@one.test;auth=PLAIN@smart.test", "PLAIN"},
		{"submissions://alice@one.test;auth=LOGIN@smart.test", "LOGIN"},
		{"submission://alice@one.test;auth=CRAM-MD5@smart.test", "CRAM-MD5"},
	} {
		before, _ := os.ReadFile(smart.Path("pf", "log"))
		reload(one, "relay-passwords="+one.Path("passwords"), "relay-tls="+ca, "relay-host="+tt.relay)
		one.Submit("alice", "Subject: by way of "+tt.relay+"\n\nhello\n", "-i", "bob@far.test")
		lan.Until(t, 60*time.Second, tt.relay+" takes it", func() bool {
			return lan.Contains(smart.Path("pf", "mail", "bob"), "Subject: by way of "+tt.relay+"\n")
		})
		after, _ := os.ReadFile(smart.Path("pf", "log"))
		if said := string(after[len(before):]); !strings.Contains(said, "sasl_method="+tt.method+", sasl_username=alice@one.test") {
			t.Errorf("%s, want a login by %s:\n%s", tt.relay, tt.method, said)
		}
	}
	password(one, "open barley")
	out, err := one.Try(lan.Binary, "check-relay", "-C", one.Config)
	if err == nil || !strings.Contains(out, "login of alice@one.test at smart.test refused: look at user and password") {
		t.Errorf("check-relay with a wrong password: %v\n%s", err, out)
	}
}
