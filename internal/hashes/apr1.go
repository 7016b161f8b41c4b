package hashes

import (
	"crypto/md5"
	"crypto/subtle"
	"strings"
)

// apr1Prefix begins what htpasswd(1) makes with -m: the algorithm of md5crypt with this
// word in it.
const apr1Prefix = "$apr1$"

// cryptLetters are those of crypt(3), for six bits each.
const cryptLetters = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// parseAPR1 reads $apr1$SALT$HASH.
func parseAPR1(value string) (Hash, error) {
	salt, sum, ok := strings.Cut(strings.TrimPrefix(value, apr1Prefix), "$")
	if !ok || salt == "" || len(salt) > 8 || len(sum) != 22 {
		return Hash{}, ErrForm
	}
	return Hash{match: func(p string) bool { return subtle.ConstantTimeCompare([]byte(apr1(p, salt)), []byte(sum)) == 1 }, memory: 8 << 10}, nil
}

// apr1 is the hash without prefix and salt: 1,000 rounds of MD5.
func apr1(password, salt string) string {
	pw := []byte(password)
	inner := md5.Sum([]byte(password + salt + password))
	h := md5.New()
	h.Write(pw)
	h.Write([]byte(apr1Prefix + salt))
	for n := len(pw); n > 0; n -= md5.Size {
		h.Write(inner[:min(n, md5.Size)])
	}
	for n := len(pw); n > 0; n >>= 1 {
		if n&1 == 1 {
			h.Write([]byte{0})
		} else {
			h.Write(pw[:1])
		}
	}
	sum := h.Sum(nil)
	for i := range 1000 {
		h.Reset()
		if i&1 == 1 {
			h.Write(pw)
		} else {
			h.Write(sum)
		}
		if i%3 != 0 {
			h.Write([]byte(salt))
		}
		if i%7 != 0 {
			h.Write(pw)
		}
		if i&1 == 1 {
			h.Write(sum)
		} else {
			h.Write(pw)
		}
		sum = h.Sum(sum[:0])
	}
	var b []byte
	put := func(v uint32, n int) {
		for range n {
			b = append(b, cryptLetters[v&0x3f])
			v >>= 6
		}
	}
	for i := range 5 {
		last := i + 12
		if i == 4 {
			last = 5
		}
		put(uint32(sum[i])<<16|uint32(sum[i+6])<<8|uint32(sum[last]), 4)
	}
	put(uint32(sum[11]), 2)
	return string(b)
}
