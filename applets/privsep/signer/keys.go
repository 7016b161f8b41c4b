package signer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
)

// Bits that an RSA key may have.
const (
	leastRSA = 2048 // as certificate authorities ask for
	maxRSA   = 4096 // a longer one would take 40 ms of a processor for each handshake
)

// Check says why a key can't be used here: what its public part is decides.
func Check(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < leastRSA || n > maxRSA {
			return fmt.Errorf("an RSA key of %d bits, use one of %d to %d", n, leastRSA, maxRSA)
		}
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521() {
			return nil
		}
		return errors.New("an ECDSA key on another curve than P-256, P-384 and P-521, make one on P-256")
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("a key of type %T, use ECDSA, RSA or Ed25519", pub)
}

// hash is what made the digest, 0 where none did; pss says that RSA signs with salt.
func (s scheme) hash() (h crypto.Hash, pss bool) {
	switch s {
	case pkcs1SHA256, ecdsaSHA256:
		return crypto.SHA256, false
	case pkcs1SHA384, ecdsaSHA384:
		return crypto.SHA384, false
	case pkcs1SHA512, ecdsaSHA512:
		return crypto.SHA512, false
	case pssSHA256:
		return crypto.SHA256, true
	case pssSHA384:
		return crypto.SHA384, true
	case pssSHA512:
		return crypto.SHA512, true
	}
	return 0, false
}

// size is that of what is signed, 0 for any; ok is false where there is no such scheme.
func (s scheme) size() (n int, ok bool) {
	h, _ := s.hash()
	if h == 0 {
		return 0, s == ed25519Message
	}
	return h.Size(), true
}

// schemeFor is how opts, of crypto/tls, ask a key to sign.
func schemeFor(pub crypto.PublicKey, opts crypto.SignerOpts) (scheme, error) {
	h := opts.HashFunc()
	step := map[crypto.Hash]scheme{crypto.SHA256: 0, crypto.SHA384: 1, crypto.SHA512: 2}
	n, known := step[h]
	switch pub.(type) {
	case ed25519.PublicKey:
		if h == 0 {
			return ed25519Message, nil
		}
	case *ecdsa.PublicKey:
		if known {
			return ecdsaSHA256 + n, nil
		}
	case *rsa.PublicKey:
		pss, ok := opts.(*rsa.PSSOptions)
		switch {
		case !known:
		case !ok:
			return pkcs1SHA256 + n, nil
		case pss.SaltLength == rsa.PSSSaltLengthEqualsHash || pss.SaltLength == h.Size():
			return pssSHA256 + n, nil
		}
	}
	return 0, fmt.Errorf("sign as TLS does not: %T, %v", pub, h)
}

// parseKey reads a key in PKCS #8.
func parseKey(der []byte) (crypto.Signer, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T", k)
	}
	return key, Check(key.Public())
}

// sign signs with one of the keys, if it is one for the scheme.
func sign(keys []crypto.Signer, q question) ([]byte, error) {
	if int(q.key) >= len(keys) {
		return nil, fmt.Errorf("key %d of %d", q.key, len(keys))
	}
	key := keys[q.key]
	h, pss := q.scheme.hash()
	opts := crypto.SignerOpts(h)
	if pss {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}
	}
	if s, err := schemeFor(key.Public(), opts); err != nil || s != q.scheme {
		return nil, fmt.Errorf("scheme %d with a key of type %T", q.scheme, key.Public())
	}
	return key.Sign(rand.Reader, q.content, opts)
}
