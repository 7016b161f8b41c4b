package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/testenv"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return k
}

// certFor is a certificate in PEM, from a day ago, for so many days from now.
func certFor(t testing.TB, key crypto.Signer, days int, names ...string) string {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	now := time.Now()
	template := &x509.Certificate{SerialNumber: serial, DNSNames: names, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.Add(time.Duration(days)*24*time.Hour + time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func keyPEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// write writes a file of a folder and returns its name.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// link makes name lead to target, as certbot does, in one step.
func link(t *testing.T, target, name string) {
	t.Helper()
	must(t, os.Symlink(target, name+".new"))
	must(t, os.Rename(name+".new", name))
}

// lineage is a folder as certbot makes them, with version 1 in force.
type lineage struct {
	t             *testing.T
	live, archive string
}

func newLineage(t *testing.T) *lineage {
	root := t.TempDir()
	l := &lineage{t, filepath.Join(root, "live"), filepath.Join(root, "archive")}
	must(t, os.Mkdir(l.live, 0o700))
	must(t, os.Mkdir(l.archive, 0o700))
	l.make(1)
	l.use("fullchain", 1)
	l.use("privkey", 1)
	return l
}

func (l *lineage) make(version int) {
	key := newKey(l.t)
	write(l.t, l.archive, fmt.Sprintf("fullchain%d.pem", version), certFor(l.t, key, 60+version, "us.example"))
	write(l.t, l.archive, fmt.Sprintf("privkey%d.pem", version), keyPEM(l.t, key))
}

func (l *lineage) use(name string, version int) {
	link(l.t, fmt.Sprintf("../archive/%s%d.pem", name, version), filepath.Join(l.live, name+".pem"))
}

func (l *lineage) options(log *testenv.Log) Options {
	return Options{
		Certs: []string{filepath.Join(l.live, "fullchain.pem")}, Keys: []string{filepath.Join(l.live, "privkey.pem")},
		Dir: l.t.TempDir(), FS: disk.OS(), Hostname: "us.example", Log: log.Logger(),
	}
}

// TestRenewal: links that change one after the other bring the new pair, and in between
// the old one stays, without a word.
func TestRenewal(t *testing.T) {
	l, log := newLineage(t), &testenv.Log{}
	s := Open(l.options(log))
	first := s.Pairs()
	if len(first) != 1 || first[0].Days(time.Now()) != 61 || !strings.Contains(log.Take(), "for us.example, it ends in 61 days") {
		t.Fatalf("%+v", first)
	}
	l.make(2)
	if s.look() {
		t.Error("a change is seen where there is none")
	}
	l.use("privkey", 2)
	if s.look() || !s.Pairs()[0].equal(first[0]) {
		t.Error("half a change is taken")
	}
	if text := log.Take(); text != "" {
		t.Errorf("half a change is told: %s", text)
	}
	l.use("fullchain", 2)
	if !s.look() || s.Pairs()[0].Days(time.Now()) != 62 {
		t.Errorf("the change is not seen: %+v", s.Pairs())
	}
	if text := log.Take(); !strings.Contains(text, "certificate read") {
		t.Errorf("log: %s", text)
	}
}

// TestBrokenLater: a pair that stays broken is told once, and what was read serves on.
func TestBrokenLater(t *testing.T) {
	l, log := newLineage(t), &testenv.Log{}
	s := Open(l.options(log))
	first := s.Pairs()
	log.Take()
	l.make(2)
	l.use("privkey", 2)
	for look, want := range []int{0, 1, 0, 0} {
		if s.look() {
			t.Error("a pair that doesn't match is taken")
		}
		if text := log.Take(); strings.Count(text, "certificate refused") != want || want > 0 && !strings.Contains(text, "is not that of the certificate") {
			t.Errorf("look %d: %q, want %d lines", look, text, want)
		}
	}
	if s.Reload(l.options(log)) || !s.Pairs()[0].equal(first[0]) {
		t.Error("a reload takes it")
	}
	if text := log.Take(); strings.Count(text, "the one that was read before stays") != 1 {
		t.Errorf("a reload says %q", text)
	}
	must(t, os.Remove(filepath.Join(l.live, "fullchain.pem")))
	if s.look() || !s.Pairs()[0].equal(first[0]) {
		t.Error("a file that is gone takes the certificate with it")
	}
	l.use("fullchain", 2)
	if !s.look() {
		t.Error("the mended pair is not taken")
	}
}

// TestBrokenFirst: where no pair can be read our own serves, until one can.
func TestBrokenFirst(t *testing.T) {
	l, log := newLineage(t), &testenv.Log{}
	must(t, os.Remove(filepath.Join(l.live, "privkey.pem")))
	s := Open(l.options(log))
	if all := s.Pairs(); len(all) != 1 || !all[0].Own {
		t.Fatalf("%+v", all)
	}
	if text := log.Take(); !strings.Contains(text, "it is left out until the file is mended") || !strings.Contains(text, "own certificate used") {
		t.Errorf("log: %s", text)
	}
	l.use("privkey", 1)
	if all := s.look(); !all || len(s.Pairs()) != 1 || s.Pairs()[0].Own {
		t.Errorf("%+v", s.Pairs())
	}
}

// TestReadPair: what can't be used says why, and nothing that others may write is used.
func TestReadPair(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	cert := certFor(t, key, 90, "us.example")
	good := write(t, dir, "cert", cert)
	both := write(t, dir, "both", keyPEM(t, key)+cert)
	sec1, err := x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	must(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	open := write(t, dir, "open", keyPEM(t, key))
	must(t, os.Chmod(open, 0o602))
	pemOf := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	for _, tt := range []struct {
		name, cert, key string
		want            string // in the error; "" none
	}{
		{"two files", good, write(t, dir, "key", keyPEM(t, key)), ""},
		{"one file", both, both, ""},
		{"a key of openssl ecparam", good, write(t, dir, "sec1", pemOf("EC PARAMETERS", []byte{6})+pemOf("EC PRIVATE KEY", sec1)), ""},
		{"RSA in its own form", write(t, dir, "rsacert", certFor(t, rsaKey, 9, "us.example")), write(t, dir, "rsa", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))), ""},
		{"another key", good, write(t, dir, "other", keyPEM(t, newKey(t))), "is not that of the certificate"},
		{"no certificate", open + "x", open, "no such file"},
		{"no key in the file", good, good, "no private key"},
		{"no certificate in the file", write(t, dir, "nocert", keyPEM(t, key)), both, "no certificate in PEM"},
		{"encrypted", good, write(t, dir, "encrypted", pemOf("ENCRYPTED PRIVATE KEY", sec1)), "encrypted"},
		{"others may write it", good, open, "others may write it"},
		{"a folder", filepath.Join(dir, "dir"), good, "no regular file"},
		{"a device", good, os.DevNull, "no regular file"},
		{"long", write(t, dir, "long", strings.Repeat("x", maxFile+1)), both, "more than"},
		{"many", write(t, dir, "many", strings.Repeat(cert, maxChain+1)), both, "more than 10 certificates"},
		{"nothing", write(t, dir, "empty", ""), both, "no certificate in PEM"},
	} {
		_, err := Read(tt.cert, tt.key, nil)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := Read(both, both, func(crypto.PublicKey) error { return fmt.Errorf("not such a key") }); err == nil {
		t.Error("a key that the check refuses is taken")
	}
}

// TestOwn: ours is made once, is root's alone, and is renewed before its end.
func TestOwn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lib")
	now := time.Now()
	first, err := own(disk.OS(), dir, "us.example", now, nil)
	must(t, err)
	must(t, first.Leaf.VerifyHostname("us.example"))
	if k, ok := first.Key.Public().(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		t.Errorf("a key of type %T", first.Key.Public())
	}
	for path, mode := range map[string]os.FileMode{filepath.Join(dir, "tls"): 0o700 | os.ModeDir, first.File: 0o600} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), mode)
		}
	}
	for _, tt := range []struct {
		name   string
		now    time.Time
		change func()
		same   bool
	}{
		{"again", now, func() {}, true},
		{"31 days before its end", first.Ends().Add(-31 * 24 * time.Hour), func() {}, true},
		{"a clock that was set back", now.AddDate(-3, 0, 0), func() {}, false},
		{"29 days before its end", now.AddDate(10, 0, -29), func() {}, false},
		{"cut off", now, func() { must(t, os.Truncate(first.File, 300)) }, false},
		{"of another key", now, func() {
			write(t, filepath.Dir(first.File), ownFile, keyPEM(t, newKey(t))+certFor(t, newKey(t), 90, "us.example"))
		}, false},
		{"something in the way", now, func() { write(t, filepath.Dir(first.File), "."+ownFile, "x") }, true},
	} {
		before, err := own(disk.OS(), dir, "us.example", now, nil)
		must(t, err)
		tt.change()
		p, err := own(disk.OS(), dir, "us.example", tt.now, nil)
		must(t, err)
		if p.equal(before) != tt.same {
			t.Errorf("%s: the same %v, want %v", tt.name, !tt.same, tt.same)
		}
		must(t, os.RemoveAll(dir))
		first, err = own(disk.OS(), dir, "us.example", now, nil)
		must(t, err)
	}
}

// TestOwnInMemory: where it can't be kept it serves all the same.
func TestOwnInMemory(t *testing.T) {
	dir, log := t.TempDir(), &testenv.Log{}
	file := write(t, dir, "file", "")
	s := Open(Options{Dir: filepath.Join(file, "lib"), FS: disk.OS(), Hostname: "us.example", Log: log.Logger()})
	if all := s.Pairs(); len(all) != 1 || all[0].File != "" {
		t.Errorf("%+v", all)
	}
	if text := log.Take(); !strings.Contains(text, "could not be kept") || !strings.Contains(text, "err=") || !strings.Contains(text, "level=WARN") {
		t.Errorf("log: %s", text)
	}
	if s.look() || log.Take() != "" {
		t.Error("it is made again at each look, or told of")
	}
	before := s.Pairs()[0]
	must(t, os.Remove(file))
	must(t, os.Mkdir(file, 0o755))
	if s.look() {
		t.Error("another one serves once there is a place for it")
	}
	if p := s.Pairs()[0]; !p.equal(before) || p.File != filepath.Join(file, "lib", ownDir, ownFile) {
		t.Errorf("it is not kept: %+v", p)
	}
	if text := log.Take(); !strings.Contains(text, `msg="own certificate kept"`) {
		t.Errorf("log: %s", text)
	}
	if s.look() || log.Take() != "" {
		t.Error("it is kept again at each look")
	}
	if again := Open(s.options()).Pairs(); len(again) != 1 || !again[0].equal(before) {
		t.Error("the next start has another one")
	}
}

// TestOwnComesBack: one in memory gives way to the one on disk, once that can be read.
func TestOwnComesBack(t *testing.T) {
	dir := t.TempDir()
	lib, away := filepath.Join(dir, "lib"), filepath.Join(dir, "away")
	kept, err := own(disk.OS(), lib, "us.example", time.Now(), nil)
	must(t, err)
	must(t, os.Rename(lib, away))
	write(t, dir, "lib", "")
	s := Open(Options{Dir: lib, FS: disk.OS(), Hostname: "us.example", Log: (&testenv.Log{}).Logger()})
	if s.Pairs()[0].equal(kept) {
		t.Fatal("it is read where it isn't")
	}
	must(t, os.Remove(lib))
	must(t, os.Rename(away, lib))
	if !s.look() || !s.Pairs()[0].equal(kept) {
		t.Errorf("the one on disk doesn't serve: %+v", s.Pairs())
	}
}

// TestChoose: the name that was asked for decides, then what the client understands.
func TestChoose(t *testing.T) {
	dir := t.TempDir()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	var o Options
	add := func(name string, key crypto.Signer, names ...string) {
		o.Certs = append(o.Certs, write(t, dir, name+".pem", certFor(t, key, 90, names...)+keyPEM(t, key)))
	}
	add("first", newKey(t), "first.example")
	add("ecdsa", newKey(t), "second.example", "*.wild.example")
	add("rsa", rsaKey, "second.example")
	o.Dir, o.FS, o.Log = dir, disk.OS(), (&testenv.Log{}).Logger()
	pairs := Open(o).Pairs()
	set, err := NewSet(Pack(pairs), func(n int, _ crypto.PublicKey) crypto.Signer { return pairs[n].Key })
	must(t, err)
	for _, tt := range []struct {
		name string
		conf *tls.Config
		want string
	}{
		{"no name", &tls.Config{}, "first"},
		{"the first", &tls.Config{ServerName: "first.example"}, "first"},
		{"the second", &tls.Config{ServerName: "second.example"}, "ecdsa"},
		{"in capitals", &tls.Config{ServerName: "SECOND.example"}, "ecdsa"},
		{"any name below", &tls.Config{ServerName: "mx.wild.example"}, "ecdsa"},
		{"RSA alone", &tls.Config{ServerName: "second.example", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}, "rsa"},
		{"nobody's name", &tls.Config{ServerName: "other.example"}, "first"},
		{"nobody's name, RSA alone", &tls.Config{ServerName: "other.example", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}, "rsa"},
		{"no name, RSA alone", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}, "rsa"},
	} {
		a, b := net.Pipe()
		var offer Offer
		offer.Ask(false)
		if offer.TLS() != nil {
			t.Error("TLS is offered without a certificate")
		}
		offer.Put(set)
		conf := offer.TLS().Clone()
		conf.SessionTicketsDisabled = true
		done := make(chan error, 1)
		server := &shown{Conn: b}
		go func() { done <- tls.Server(server, conf).Handshake() }()
		tt.conf.InsecureSkipVerify = true
		c := tls.Client(a, tt.conf)
		must(t, c.Handshake())
		must(t, <-done)
		want, err := Read(filepath.Join(dir, tt.want+".pem"), filepath.Join(dir, tt.want+".pem"), nil)
		must(t, err)
		if !c.ConnectionState().PeerCertificates[0].Equal(want.Leaf) || !server.cert.Equal(want.Leaf) {
			t.Errorf("%s: not the certificate %s", tt.name, tt.want)
		}
		a.Close()
		b.Close()
	}
	if _, err := NewSet([][]byte{nil}, nil); err == nil {
		t.Error("a chain of nothing is taken")
	}
	if _, err := NewSet([][]byte{[]byte("x")}, nil); err == nil {
		t.Error("a chain that is none is taken")
	}
	if _, err := (*Set)(nil).choose(&tls.ClientHelloInfo{}); err == nil {
		t.Error("nothing is chosen where there is nothing")
	}
}

// shown hears which certificate its client is shown.
type shown struct {
	net.Conn
	cert *x509.Certificate
}

func (s *shown) Show(c *x509.Certificate) { s.cert = c }

// TestWatch looks each minute, and tells of a certificate that ends once a day.
func TestWatch(t *testing.T) {
	l, log := newLineage(t), &testenv.Log{}
	o := l.options(log)
	synctest.Test(t, func(t *testing.T) {
		key := newKey(t)
		write(t, l.archive, "fullchain3.pem", certFor(t, key, 14, "us.example"))
		write(t, l.archive, "privkey3.pem", keyPEM(t, key))
		l.use("fullchain", 3)
		l.use("privkey", 3)
		s := Open(o)
		changes := 0
		go s.Watch(t.Context(), func() { changes++ })
		time.Sleep(50 * time.Hour)
		synctest.Wait()
		text := log.Take()
		if n := strings.Count(text, "certificate ends"); n != 3 || !strings.Contains(text, "it ends in 14 days") || !strings.Contains(text, "it ends in 12 days") || changes != 0 {
			t.Errorf("%d times in 50 hours, %d changes: %s", n, changes, text)
		}
		key = newKey(t)
		write(t, l.archive, "fullchain4.pem", certFor(t, key, 15, "us.example"))
		write(t, l.archive, "privkey4.pem", keyPEM(t, key))
		l.use("fullchain", 4)
		l.use("privkey", 4)
		time.Sleep(lookPause)
		synctest.Wait()
		if text := log.Take(); changes != 1 || strings.Contains(text, "certificate ends") {
			t.Errorf("%d changes: %s", changes, text)
		}
	})
}

// TestEndsSoon has the words for what is left.
func TestEndsSoon(t *testing.T) {
	now := time.Now()
	for left, want := range map[time.Duration]string{
		15*24*time.Hour + time.Minute: "", 15 * 24 * time.Hour: "", 15*24*time.Hour - time.Minute: "it ends in 14 days", time.Hour: "it ends in 0 days",
		-time.Hour: "it has ended 0 days ago", -25 * time.Hour: "it has ended 1 days ago",
	} {
		got := EndsSoon(Pair{Leaf: &x509.Certificate{NotAfter: now.Add(left)}}, now)
		if want == "" && got != "" || !strings.HasPrefix(got, want) {
			t.Errorf("%v: %q, want %q", left, got, want)
		}
	}
}

// TestKeyExposed: a key that everybody may read is used, and told each time that it is read.
func TestKeyExposed(t *testing.T) {
	dir, key, log := t.TempDir(), newKey(t), &testenv.Log{}
	cert, file := write(t, dir, "cert.pem", certFor(t, key, 60, "us.example")), write(t, dir, "key.pem", keyPEM(t, key))
	must(t, os.Chmod(cert, 0o644))
	s := Open(Options{Certs: []string{cert}, Keys: []string{file}, FS: disk.OS(), Log: log.Logger()})
	if text := log.Take(); strings.Contains(text, "exposed") {
		t.Errorf("a certificate is no secret: %s", text)
	}
	must(t, os.Chmod(file, 0o644))
	s.Reload(s.options())
	if text := log.Take(); !strings.Contains(text, `msg="key exposed" file=`+file) || !strings.Contains(text, "chmod o-r "+file) {
		t.Errorf("log: %s", text)
	}
	if all := s.Pairs(); len(all) != 1 || all[0].Own {
		t.Errorf("%+v", all)
	}
}
