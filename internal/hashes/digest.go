package hashes

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strings"
)

// parseDigest reads one digest of the password, and of a salt behind it in the schemes
// that begin with S: LDAP's (RFC 2307) and Dovecot's forms, in base64 or in hex.
func parseDigest(scheme, value string) (Hash, error) {
	scheme, encoding, _ := strings.Cut(scheme, ".")
	var make func() hash.Hash
	switch strings.TrimPrefix(scheme, "SS") {
	case "SHA", "HA", "SHA1":
		make = sha1.New
	case "SHA256", "HA256":
		make = sha256.New
	case "SHA512", "HA512":
		make = sha512.New
	default:
		return Hash{}, ErrForm
	}
	var sum []byte
	var err error
	if encoding == "HEX" {
		sum, err = hex.DecodeString(value)
	} else {
		sum, err = base64.StdEncoding.DecodeString(value)
	}
	size := make().Size()
	salted := strings.HasPrefix(scheme, "SS")
	if err != nil || len(sum) < size || len(sum) > size && !salted {
		return Hash{}, ErrForm
	}
	want, salt := sum[:size], bytes.Clone(sum[size:])
	return Hash{match: func(p string) bool {
		h := make()
		h.Write([]byte(p))
		h.Write(salt)
		return subtle.ConstantTimeCompare(h.Sum(nil), want) == 1
	}}, nil
}
