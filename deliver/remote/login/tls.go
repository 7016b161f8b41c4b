package login

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"os"

	"postoffice/deliver/remote/cert"
	"postoffice/internal/smarthost"
)

// maxCAFile bounds a file of authorities, in octets: Debian's whole list has 220 kB.
const maxCAFile = 4 << 20

// wanted is what certificate a host has to show. roots are the system's authorities; nil:
// they are found.
func wanted(h smarthost.Host, t smarthost.Trust, roots *x509.CertPool) (cert.Wanted, error) {
	w := cert.Wanted{Host: h.Place(), Fingerprint: t.Fingerprint, Roots: roots}
	if t.CAFile == "" {
		return w, nil
	}
	text, err := readFile(t.CAFile)
	if err != nil {
		return w, &Failure{Words: "relay-tls: " + err.Error() + ": let the server-user read the file", unasked: true, err: err}
	}
	w.Roots = x509.NewCertPool()
	if !w.Roots.AppendCertsFromPEM(text) {
		return w, &Failure{Words: "relay-tls: " + t.CAFile + ": no certificate in it: name a file in PEM", unasked: true}
	}
	return w, nil
}

// readFile reads a file of authorities.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxCAFile:
		return nil, fmt.Errorf("%s: want a file of at most %d MiB", name, maxCAFile>>20)
	}
	text, err := os.ReadFile(name)
	return bytes.TrimPrefix(text, []byte("\ufeff")), err // which some editors put there
}
