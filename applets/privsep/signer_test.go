//go:build linux

package privsep

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"postoffice/applets/privsep/signer"
	"postoffice/applets/service"
	"postoffice/internal/testenv"
)

// signers are those that this process has started and that live.
func signers(t *testing.T) (pids []int) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	testenv.Must(t, err)
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		for pid := range strings.FieldsSeq(string(b)) {
			if argv, _ := os.ReadFile("/proc/" + pid + "/cmdline"); strings.HasPrefix(string(argv), signer.Role) {
				n, err := strconv.Atoi(pid)
				testenv.Must(t, err)
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// certificates are a chain of that name, and a key.
func certificates(t *testing.T, chain string) *Certificates {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testenv.Must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	testenv.Must(t, err)
	return &Certificates{Chains: [][]byte{[]byte(chain)}, Keys: [][]byte{der}}
}

// TestNoDescriptorsOfServerA73: a server that may open no more files misses the signer of
// new certificates, and a listener that is bound again. It goes on, with what it had, and
// both come as soon as it may.
func TestNoDescriptorsOfServerA73(t *testing.T) {
	var now atomic.Pointer[Certificates]
	now.Store(certificates(t, "one"))
	renew := make(chan struct{}, 1)
	h := start(t, func(o *MasterOptions) {
		o.Certificates, o.Renew = func() Certificates { return *now.Load() }, renew
	})
	k := h.dial()
	before := k.say("hello")
	k.want("one", "certified")
	k.want("true", "starve")
	now.Store(certificates(t, "two"))
	renew <- struct{}{}
	k.want("missed: this process may open no more files", "certified")
	k.want("<nil>", "sign") // by the signer that it has
	k.want("<nil>", "shutdown %s", service.Control)
	k.want(service.Control, "missed")
	k.want("ok", "feed")
	for got := ""; got != "two"; { // others may have been missed meanwhile
		got = k.say("certified")
	}
	k.want("<nil>", "sign")
	got := ""
	if !testenv.Eventually(func() bool { // one that is given up yet once more takes no commands
		c, err := net.Dial("unix", h.path(service.Control))
		if err != nil {
			return false
		}
		defer c.Close()
		got = (&talk{t, c, bufio.NewReader(c)}).say("hello")
		return got != ""
	}) || got != before {
		t.Errorf("server %q, before %q", got, before)
	}
}

// TestSigner: the server gets certificates and a signer, others when those change, and
// another signer when one dies; a key that is none costs TLS alone.
func TestSigner(t *testing.T) {
	var now atomic.Pointer[Certificates]
	set := func(chain string) { now.Store(certificates(t, chain)) }
	set("one")
	renew := make(chan struct{}, 1)
	h := start(t, func(o *MasterOptions) {
		o.Certificates, o.Renew = func() Certificates { return *now.Load() }, renew
	})
	k := h.dial()
	k.want("one", "certified")
	k.want("<nil>", "sign")
	set("two")
	renew <- struct{}{}
	k.want("two", "certified")
	k.want("<nil>", "sign")
	for _, pid := range signers(t) {
		testenv.Must(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	k.want("two", "certified")
	k.want("<nil>", "sign")
	if !testenv.Eventually(func() bool { return strings.Contains(h.log.String(), `msg="signer ended"`) }) {
		t.Error("the log doesn't tell of the signer's end")
	}
	now.Store(&Certificates{Chains: [][]byte{[]byte("three")}, Keys: [][]byte{[]byte("no key")}})
	renew <- struct{}{}
	k.want("three", "certified")
	if got := k.say("sign"); got == fmt.Sprint(nil) {
		t.Error("a key that is none signs")
	}
	set("four")
	renew <- struct{}{}
	for got := ""; got != "four"; { // signers without a key may have come meanwhile
		got = k.say("certified")
	}
	k.want("<nil>", "sign")
}

// TestSignerHangs: one that the server says has hung is killed, and another one follows;
// so are those that hang when their server ends, whether others followed them or not.
func TestSignerHangs(t *testing.T) {
	c, renew := certificates(t, "one"), make(chan struct{}, 1)
	h := start(t, func(o *MasterOptions) {
		o.Certificates, o.Renew = func() Certificates { return *c }, renew
	})
	k := h.dial()
	k.want("one", "certified")
	stopped := stopSigners(t)
	k.want("ok", "hung")
	k.want("one", "certified")
	k.want("<nil>", "sign")
	gone(t, stopped)
	if !strings.Contains(h.log.String(), `err="the signer answered nobody for 10s"`) {
		t.Errorf("the log doesn't say why: %s", h.log.String())
	}
	stopped = stopSigners(t)
	renew <- struct{}{}
	k.want("one", "certified")
	k.want("<nil>", "sign")
	stopped = append(stopped, stopSigners(t)...)
	h.dial().say("frame ff") // ends the server
	gone(t, stopped)
	h.dial().want("one", "certified")
}

// stopSigners stops those that run.
func stopSigners(t *testing.T) (pids []int) {
	t.Helper()
	pids = signers(t)
	if len(pids) == 0 {
		t.Error("no signer runs")
	}
	testenv.Must(t, testenv.Stop(pids...))
	return pids
}

// gone waits until these have ended.
func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		if !testenv.Eventually(func() bool { return syscall.Kill(pid, 0) != nil }) {
			t.Errorf("signer %d hangs and was not ended", pid)
		}
	}
}
