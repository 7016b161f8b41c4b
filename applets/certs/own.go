package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"time"

	"postoffice/internal/disk"
	"postoffice/internal/statedir"
)

const (
	ownDir   = "tls"
	ownFile  = "self-signed.pem"
	ownYears = 10                  // that a certificate of ours is valid
	renewIn  = 30 * 24 * time.Hour // before its end another one is made
	slack    = 24 * time.Hour      // that a client's clock may be behind
)

// own returns the certificate of our own in dir. Where there is none, or one that can't be
// used for long, that is the one which is in memory, or one is made. The error says why it
// couldn't be kept; the pair is good all the same.
func own(fsys disk.FS, dir, hostname string, now time.Time, memory *Pair) (Pair, error) {
	home, err := statedir.Open(fsys, dir, ownDir)
	if err != nil {
		p, merr := ownFor(hostname, now, memory)
		return p, errors.Join(err, merr)
	}
	defer home.Close()
	if p, err := readOwn(home); err == nil && p.lasts(now) {
		p.File = filepath.Join(dir, ownDir, ownFile)
		return p, nil
	}
	p, err := ownFor(hostname, now, memory)
	if err != nil {
		return p, err
	}
	if err := writeOwn(home, p); err != nil {
		return p, err
	}
	p.File = filepath.Join(dir, ownDir, ownFile)
	return p, nil
}

// lasts reports whether a certificate of ours can be used for long.
func (p Pair) lasts(now time.Time) bool {
	return now.Before(p.Ends().Add(-renewIn)) && now.After(p.Leaf.NotBefore)
}

// ownFor returns the one in memory, if it can be used for long, or makes one.
func ownFor(hostname string, now time.Time, memory *Pair) (Pair, error) {
	if memory != nil && memory.lasts(now) {
		return *memory, nil
	}
	return makeOwn(hostname, now)
}

// readOwn reads what writeOwn wrote.
func readOwn(d disk.Dir) (Pair, error) {
	text, err := statedir.Read(d, ownFile, maxFile)
	if err != nil {
		return Pair{}, err
	}
	p := Pair{Own: true}
	if p.Chain, p.Leaf, err = parseChain(text); err != nil {
		return Pair{}, err
	}
	if p.Key, err = parseKey(text); err == nil && !samePublic(p.Key.Public(), p.Leaf.PublicKey) {
		err = errors.New("the key is not that of the certificate")
	}
	return p, err
}

// writeOwn puts a pair in the place of the one that is there, if any, in one step.
func writeOwn(d disk.Dir, p Pair) error {
	key, err := p.PKCS8()
	if err != nil {
		return err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Chain[0]})...)
	return statedir.Write(d, ownFile, text)
}

// makeOwn makes a certificate that nobody has signed but itself.
func makeOwn(hostname string, now time.Time) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return Pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: hostname[:min(len(hostname), 64)]}, // RFC 5280 allows no more
		DNSNames:              []string{hostname},
		NotBefore:             now.Add(-slack),
		NotAfter:              now.AddDate(ownYears, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Pair{}, fmt.Errorf("make a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	return Pair{Chain: [][]byte{der}, Leaf: leaf, Key: crypto.Signer(key), Own: true}, err
}
