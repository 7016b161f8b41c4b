package signer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/applets/privsep/birth"
	"postoffice/internal/account"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// someKeys are one key of each kind that is taken.
func someKeys(t testing.TB) (keys []crypto.Signer, der [][]byte) {
	t.Helper()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	keys = []crypto.Signer{p256, p384, rsa2048, ed}
	for _, k := range keys {
		b, err := x509.MarshalPKCS8PrivateKey(k)
		must(t, err)
		der = append(der, b)
	}
	return keys, der
}

// inProcess is a signer that is a goroutine, with what its serve returns.
func inProcess(t testing.TB, keys []crypto.Signer) (server *os.File, end <-chan error) {
	t.Helper()
	ours, theirs, err := birth.Pair()
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- serve(ours, keys) }()
	return theirs, ended
}

// handshake makes a session with a certificate for key, and returns what the client
// saw.
func handshake(t testing.TB, key crypto.Signer, own crypto.Signer, version uint16) error {
	t.Helper()
	template := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"us.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), own)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() {
		done <- tls.Server(b, &tls.Config{SessionTicketsDisabled: true, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}}).Handshake()
		b.Close()
	}()
	err = tls.Client(a, &tls.Config{RootCAs: pool, ServerName: "us.example", MinVersion: version, MaxVersion: version}).Handshake()
	if serr := <-done; serr != nil {
		err = fmt.Errorf("%v, server: %w", err, serr)
	}
	return err
}

// TestHandshakes makes one with each kind of key, in both versions of TLS.
func TestHandshakes(t *testing.T) {
	keys, _ := someKeys(t)
	link, end := inProcess(t, keys)
	c, err := NewClient(link)
	must(t, err)
	for i, k := range keys {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			if err := handshake(t, c.Key(i, k.Public()), k, version); err != nil {
				t.Errorf("%T, %s: %v", k, tls.VersionName(version), err)
			}
		}
	}
	if err := handshake(t, c.Key(len(keys), keys[0].Public()), keys[0], tls.VersionTLS13); err == nil {
		t.Error("a key that isn't there signs")
	}
	if err := handshake(t, c.Key(2, keys[0].Public()), keys[0], tls.VersionTLS13); err == nil {
		t.Error("an RSA key signs for ECDSA")
	}
	if signed, failed := c.Counts(); signed != 8 || failed != 2 {
		t.Errorf("%d signed, %d failed, want 8 and 2", signed, failed)
	}
	must(t, c.Close())
	must(t, <-end)
	if err := handshake(t, c.Key(0, keys[0].Public()), keys[0], tls.VersionTLS13); err == nil || !strings.Contains(err.Error(), ErrGone.Error()) {
		t.Errorf("without a signer: %v, want %v", err, ErrGone)
	}
}

// TestManyAtOnce asks far more than may be asked at once.
func TestManyAtOnce(t *testing.T) {
	keys, _ := someKeys(t)
	link, end := inProcess(t, keys)
	c, err := NewClient(link)
	must(t, err)
	digest := bytes.Repeat([]byte{7}, 32)
	var work sync.WaitGroup
	for range 5 * maxAsked {
		work.Go(func() {
			sig, err := c.Key(0, keys[0].Public()).Sign(nil, digest, crypto.SHA256)
			if err != nil || !ecdsa.VerifyASN1(keys[0].Public().(*ecdsa.PublicKey), digest, sig) {
				t.Errorf("%x, %v", sig, err)
			}
		})
	}
	work.Wait()
	must(t, c.Close())
	must(t, <-end)
}

// TestRefused: what TLS never asks for is not signed.
func TestRefused(t *testing.T) {
	keys, _ := someKeys(t)
	link, _ := inProcess(t, keys)
	c, err := NewClient(link)
	must(t, err)
	defer c.Close()
	long := make([]byte, maxContent+1)
	for _, tt := range []struct {
		name    string
		key     int
		content []byte
		opts    crypto.SignerOpts
	}{
		{"SHA-1", 0, long[:20], crypto.SHA1},
		{"MD5 and SHA-1", 2, long[:36], crypto.MD5SHA1},
		{"no hash", 0, long[:32], crypto.Hash(0)},
		{"a digest of another length", 0, long[:20], crypto.SHA256},
		{"salt of another length", 2, long[:32], &rsa.PSSOptions{SaltLength: 8, Hash: crypto.SHA256}},
		{"a long message", 3, long, crypto.Hash(0)},
		{"Ed25519ph", 3, long[:64], crypto.SHA512},
	} {
		if sig, err := c.Key(tt.key, keys[tt.key].Public()).Sign(nil, tt.content, tt.opts); err == nil {
			t.Errorf("%s: %x", tt.name, sig)
		}
	}
	if err := handshake(t, c.Key(0, keys[0].Public()), keys[0], tls.VersionTLS13); err != nil {
		t.Errorf("behind all these: %v", err)
	}
}

// TestKeys: which keys are taken.
func TestKeys(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	must(t, err)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	big4097 := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 4096), E: 65537}
	for _, pub := range []crypto.PublicKey{p224.Public(), small.Public(), big4097, "key"} {
		if err := Check(pub); err == nil {
			t.Errorf("%T is taken", pub)
		}
	}
	keys, _ := someKeys(t)
	for _, k := range keys {
		must(t, Check(k.Public()))
	}
}

// TestQuestionsA71: what is no question ends the signer, with no answer.
func TestQuestionsA71(t *testing.T) {
	keys, _ := someKeys(t)
	good := question{number: 1, scheme: ecdsaSHA256, content: make([]byte, 32)}.append(nil)
	behind := bytes.Clone(good)
	behind[len(behind)-1] = 1
	long := bytes.Clone(good)
	long[7] = 33
	scheme := bytes.Clone(good)
	scheme[6] = 99
	for name, in := range map[string][]byte{
		"short": good[:len(good)-1], "long": append(bytes.Clone(good), 0), "one octet": {0}, "octets behind": behind,
		"another length": long, "another scheme": scheme, "a key": append([]byte{sayKey}, good...), "nothing but zeros": make([]byte, questionSize),
	} {
		link, end := inProcess(t, keys)
		conn, err := birth.Conn(link)
		must(t, err)
		_, err = conn.Write(in)
		must(t, err)
		if n, err := conn.Read(make([]byte, answerSize)); n != 0 || err == nil {
			t.Errorf("%s: %d octets, %v", name, n, err)
		}
		if err := <-end; !errors.Is(err, errForm) {
			t.Errorf("%s: %v, want %v", name, err, errForm)
		}
		conn.Close()
	}
}

// TestAnswers: a signer that says what ours never does is left.
func TestAnswers(t *testing.T) {
	for name, in := range map[string][]byte{
		"short": make([]byte, answerSize-1), "too long a signature": append([]byte{0, 0, 0, 1, 2, 1}, make([]byte, maxSignature)...),
	} {
		ours, theirs, err := birth.Pair()
		must(t, err)
		c, err := NewClient(theirs)
		must(t, err)
		_, err = ours.Write(in)
		must(t, err)
		<-c.Gone()
		if _, err := c.ask(question{scheme: ed25519Message}); err == nil {
			t.Errorf("%s: it is asked again", name)
		}
		ours.Close()
	}
}

// FuzzQuestion: what is understood has one form, and is answered within it.
func FuzzQuestion(f *testing.F) {
	f.Add(question{number: 1, scheme: ecdsaSHA256, content: make([]byte, 32)}.append(nil))
	f.Add(question{number: 1<<32 - 1, key: 3, scheme: ed25519Message, content: make([]byte, 146)}.append(nil))
	f.Add(question{key: 2, scheme: pssSHA512, content: make([]byte, 64)}.append(nil))
	keys, _ := someKeys(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		q, err := decodeQuestion(in)
		if err != nil {
			if !errors.Is(err, errForm) {
				t.Errorf("%x: %v", in, err)
			}
			return
		}
		if again := q.append(nil); !bytes.Equal(again, in) {
			t.Errorf("%x is understood as %+v, which is %x", in, q, again)
		}
		signature, err := sign(keys, q)
		if err == nil && (len(signature) == 0 || len(signature) > maxSignature) {
			t.Errorf("%+v: signature of %d octets", q, len(signature))
		}
	})
}

// FuzzAnswer: what is understood has one form.
func FuzzAnswer(f *testing.F) {
	f.Add(answer{1, make([]byte, 72)}.append(nil))
	f.Add(answer{0, nil}.append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		_, a, err := decodeAnswer(in)
		if err != nil {
			return
		}
		if again := a.append(nil); !bytes.Equal(again, in) {
			t.Errorf("%x is understood as %+v, which is %x", in, a, again)
		}
	})
}

// TestProcess is a real one: it has an account of its own, and ends with its link.
func TestProcess(t *testing.T) {
	keys, der := someKeys(t)
	p, err := Start(der, account.Keys)
	must(t, err)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	must(t, err)
	uid := account.Keys
	if os.Getuid() != 0 {
		uid = os.Getuid()
	}
	for _, want := range []string{
		fmt.Sprintf("Uid:\t%d\t%d\t%d\t%d\n", uid, uid, uid, uid), "NoNewPrivs:\t1\n", "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("status has no %q:\n%s", want, status)
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	if err == nil { // root may look
		for _, fd := range fds {
			to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", p.PID(), fd.Name()))
			if strings.HasPrefix(to, "/") && to != os.DevNull && !strings.HasPrefix(to, "/sys/fs/cgroup/") { // the runtime's
				t.Errorf("it has %s open", to)
			}
		}
	}
	c, err := NewClient(p.Link)
	must(t, err)
	if err := handshake(t, c.Key(0, keys[0].Public()), keys[0], tls.VersionTLS13); err != nil {
		t.Error(err)
	}
	must(t, c.Close())
	if err := <-p.Ended; err != nil {
		t.Errorf("it ended: %v", err)
	}
	if _, err := Start([][]byte{make([]byte, maxKeySize+1)}, account.Keys); err == nil {
		t.Error("a key that is too long is taken")
	}
	p, err = Start([][]byte{[]byte("no key")}, account.Keys)
	must(t, err)
	if err := <-p.Ended; err == nil {
		t.Error("it serves without a key")
	}
	p.Link.Close()
}

// BenchmarkSign is what a signature costs here, and through a process.
func BenchmarkSign(b *testing.B) {
	keys, der := someKeys(b)
	p, err := Start(der, account.Keys)
	must(b, err)
	c, err := NewClient(p.Link)
	must(b, err)
	digest := make([]byte, 32)
	for i, name := range []string{"P-256", "P-384", "RSA-2048"} {
		for how, key := range map[string]crypto.Signer{"here": keys[i], "process": c.Key(i, keys[i].Public())} {
			b.Run(name+"/"+how, func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := key.Sign(rand.Reader, digest, crypto.SHA256); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
	must(b, c.Close())
}

var _ io.Closer = (*Client)(nil)
