//go:build linux

package privsep

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"postoffice/applets/privsep/signer"
	"postoffice/internal/testenv"
)

// signers are those that this process has started and that live.
func signers(t *testing.T) (pids []int) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	must(t, err)
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		for pid := range strings.FieldsSeq(string(b)) {
			if argv, _ := os.ReadFile("/proc/" + pid + "/cmdline"); strings.HasPrefix(string(argv), signer.Role) {
				n, err := strconv.Atoi(pid)
				must(t, err)
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// TestSigner: the server gets certificates and a signer, others when those change, and
// another signer when one dies; a key that is none costs TLS alone.
func TestSigner(t *testing.T) {
	var now atomic.Pointer[Certificates]
	set := func(chain string) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		must(t, err)
		now.Store(&Certificates{Chains: [][]byte{[]byte(chain)}, Keys: [][]byte{der}})
	}
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
		must(t, syscall.Kill(pid, syscall.SIGKILL))
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
