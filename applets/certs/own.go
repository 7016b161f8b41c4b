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
	"io"
	"io/fs"
	"math/big"
	"path/filepath"
	"time"

	"postoffice/internal/disk"
)

const (
	ownDir   = "tls"
	ownFile  = "self-signed.pem"
	ownYears = 10                  // that a certificate of ours is valid
	renewIn  = 30 * 24 * time.Hour // before its end another one is made
	slack    = 24 * time.Hour      // that a client's clock may be behind
)

// own returns the certificate of our own in dir, which is made where there is none, or
// one that can't be used for long. The error says why it couldn't be kept; the pair is
// good all the same.
func own(fsys disk.FS, dir, hostname string, now time.Time) (Pair, error) {
	home, err := openOwn(fsys, dir)
	if err != nil {
		p, merr := makeOwn(hostname, now)
		return p, errors.Join(err, merr)
	}
	defer home.Close()
	if p, err := readOwn(home); err == nil && now.Before(p.Ends().Add(-renewIn)) && now.After(p.Leaf.NotBefore) {
		p.File = filepath.Join(dir, ownDir, ownFile)
		return p, nil
	}
	p, err := makeOwn(hostname, now)
	if err != nil {
		return p, err
	}
	if err := writeOwn(home, p); err != nil {
		return p, err
	}
	p.File = filepath.Join(dir, ownDir, ownFile)
	return p, nil
}

// openOwn opens the directory, which is made where it isn't there.
func openOwn(fsys disk.FS, dir string) (disk.Dir, error) {
	parent, err := fsys.OpenDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		parent, err = makeDir(fsys, filepath.Dir(dir), filepath.Base(dir), 0o755)
	}
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	return subdir(parent, ownDir, 0o700)
}

// makeDir makes a directory in one that is there.
func makeDir(fsys disk.FS, in, name string, mode fs.FileMode) (disk.Dir, error) {
	above, err := fsys.OpenDir(in)
	if err != nil {
		return nil, err
	}
	defer above.Close()
	return subdir(above, name, mode)
}

func subdir(d disk.Dir, name string, mode fs.FileMode) (disk.Dir, error) {
	if err := d.Mkdir(name, mode); err == nil {
		if err := d.Sync(); err != nil {
			return nil, err
		}
		made, err := d.OpenDir(name)
		if err == nil {
			err = made.Chmod(mode) // whatever the umask
		}
		return made, err
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return d.OpenDir(name)
}

// readOwn reads what writeOwn wrote.
func readOwn(d disk.Dir) (Pair, error) {
	f, err := d.Open(ownFile, disk.ReadOnly)
	if err != nil {
		return Pair{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, maxFile))
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
	const tmp = "." + ownFile
	if err := d.Unlink(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := d.Create(tmp, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, d.Unlink(tmp))
	}
	if err := d.Rename(tmp, d, ownFile); err != nil {
		return err
	}
	return d.Sync()
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
