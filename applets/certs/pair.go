package certs

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	maxFile  = 64 << 10 // octets of a file with certificates or a key
	maxChain = 10       // certificates in one
	maxSize  = 30 << 10 // octets of these, as another process gets them
)

// Pair is a certificate and its key.
type Pair struct {
	Chain [][]byte // DER, the certificate itself first
	Leaf  *x509.Certificate
	Key   crypto.Signer
	File  string // where the certificate is; "" in memory
	Own   bool   // we made it

	Exposed string // says that everybody may read the key's file, and what to do; "" nobody else may
}

// Read reads a certificate with its chain and its key, both PEM; the key may stand in
// the same file. check says whether a key may be used; nil: any may.
func Read(certFile, keyFile string, check func(crypto.PublicKey) error) (Pair, error) {
	text, mode, err := readFile(certFile)
	if err != nil {
		return Pair{}, err
	}
	p := Pair{File: certFile}
	if p.Chain, p.Leaf, err = parseChain(text); err != nil {
		return Pair{}, fmt.Errorf("%s: %w", certFile, err)
	}
	if keyFile != certFile {
		if text, mode, err = readFile(keyFile); err != nil {
			return Pair{}, err
		}
	}
	if p.Key, err = parseKey(text); err != nil {
		return Pair{}, fmt.Errorf("%s: %w", keyFile, err)
	}
	if check != nil {
		if err := check(p.Key.Public()); err != nil {
			return Pair{}, fmt.Errorf("%s: %w", keyFile, err)
		}
	}
	if !samePublic(p.Key.Public(), p.Leaf.PublicKey) {
		return Pair{}, fmt.Errorf("%s: the key in %s is not that of the certificate", certFile, keyFile)
	}
	if mode&0o004 != 0 {
		p.Exposed = fmt.Sprintf("%s: everybody on this machine may read the key, and so be this server to anybody: chmod o-r %[1]s, and get a new key if others have accounts here", keyFile)
	}
	return p, nil
}

// readFile reads a file that nobody else may write. Links to it are followed.
func readFile(name string) (text []byte, mode fs.FileMode, err error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if why := writable(info); why != "" {
		return nil, 0, fmt.Errorf("%s is not secure: %s", name, why)
	}
	text, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s: more than %d octets", name, maxFile)
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), info.Mode(), err // which some editors put there
}

// writable says why somebody else may write a file, "" if nobody may.
func writable(info fs.FileInfo) string {
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return "it is no regular file"
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Sprintf("its owner is uid %d, give it to root", st.Uid)
	case info.Mode()&0o002 != 0 || info.Mode()&0o020 != 0 && st.Gid != 0:
		return "others may write it, chmod go-w it"
	}
	return ""
}

// parseChain reads certificates in PEM.
func parseChain(text []byte) (chain [][]byte, leaf *x509.Certificate, err error) {
	size := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != certificateBlock {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, err
		}
		if len(chain) == maxChain {
			return nil, nil, fmt.Errorf("more than %d certificates", maxChain)
		}
		if leaf == nil {
			leaf = cert
		}
		if size += len(block.Bytes); size > maxSize {
			return nil, nil, fmt.Errorf("more than %d octets of certificates", maxSize)
		}
		chain = append(chain, block.Bytes)
	}
	if all := certificatesIn(text); all > len(chain) {
		return nil, nil, fmt.Errorf("of %d certificates in it %d can be read: the others are cut off, or don't begin and end on lines of their own, as where cat has put files together of which one has no line end behind it", all, len(chain))
	}
	if leaf == nil {
		return nil, nil, errors.New("no certificate in PEM (BEGIN CERTIFICATE) in it")
	}
	return chain, leaf, nil
}

// certificateBlock is what a certificate is called in PEM.
const certificateBlock = "CERTIFICATE"

// certificatesIn counts those that a text says it has: pem.Decode passes over what it can't
// read, and a chain that lacks one is good for nobody who verifies it.
func certificatesIn(text []byte) int {
	return max(bytes.Count(text, []byte("-----BEGIN "+certificateBlock+"-----")), bytes.Count(text, []byte("-----END "+certificateBlock+"-----")))
}

// parseKey reads the first private key in PEM.
func parseKey(text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if strings.HasPrefix(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the key is encrypted, and nobody is there to ask: take its passphrase off (openssl pkey)")
		}
		return parseDER(block.Bytes)
	}
	return nil, errors.New("no private key in PEM (BEGIN PRIVATE KEY) in it")
}

// parseDER reads a key in any of the three forms that there are.
func parseDER(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if k, err := x509.ParseECPrivateKey(der); err == nil {
			return k, nil
		}
		if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
			return k, nil
		}
		return nil, err
	}
	if k, ok := key.(crypto.Signer); ok {
		return k, nil
	}
	return nil, fmt.Errorf("a key of type %T", key)
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// equal reports whether two pairs are the same.
func (p Pair) equal(q Pair) bool {
	return slices.EqualFunc(p.Chain, q.Chain, bytes.Equal) && samePublic(p.Key.Public(), q.Key.Public())
}

// PKCS8 is the key for another process.
func (p Pair) PKCS8() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(p.Key) }

// Ends is when the certificate is valid no more.
func (p Pair) Ends() time.Time { return p.Leaf.NotAfter }

// Days are how many whole ones are left at a time; negative behind the end.
func (p Pair) Days(now time.Time) int {
	left := p.Ends().Sub(now)
	if left < 0 {
		return -1 - int(-left/(24*time.Hour))
	}
	return int(left / (24 * time.Hour))
}

// Names are those that the certificate is for, as people read them.
func (p Pair) Names() string {
	if len(p.Leaf.DNSNames) == 0 {
		return p.Leaf.Subject.CommonName
	}
	return strings.Join(p.Leaf.DNSNames, ",")
}
