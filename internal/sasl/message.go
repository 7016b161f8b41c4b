package sasl

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

const (
	leastRounds = 4096      // of hashing a password (RFC 7677 section 4): fewer are for whoever wants to guess it
	maxRounds   = 1_000_000 // half a second of this machine's time for a server's word
	maxMessage  = 4 << 10   // octets of a message of SCRAM
	maxSalt     = 1 << 10   // octets of a salt
)

// flag says what a client says of channel binding (RFC 5802 section 6).
type flag byte

const (
	unbound   flag = 'n' // it has none
	unoffered flag = 'y' // it has, and the server offers none
	bound     flag = 'p' // it is bound
)

// header is what comes before the first message.
func header(f flag, b Binding) string {
	if f == bound {
		return "p=" + b.Name + ",,"
	}
	return string(f) + ",,"
}

// attributes parts a message "a=…,b=…" and gives the values of the wanted ones, which
// stand first and in this order. What follows are extensions.
func attributes(message, wanted string) ([]string, error) {
	if len(message) > maxMessage {
		return nil, fmt.Errorf("a message of %d octets", len(message))
	}
	var values []string
	rest, more := message, true
	for i := range len(wanted) {
		var one string
		if !more {
			return nil, fmt.Errorf("no attribute %c", wanted[i])
		}
		one, rest, more = strings.Cut(rest, ",")
		if len(one) < 2 || one[0] != wanted[i] || one[1] != '=' {
			return nil, fmt.Errorf("no attribute %c at its place", wanted[i])
		}
		values = append(values, one[2:])
	}
	return values, nil
}

// serverFirst is the server's first message: the nonce of both, the salt, and how
// often the password is hashed.
type serverFirst struct {
	nonce  string
	salt   []byte
	rounds int
}

func parseServerFirst(message string) (f serverFirst, err error) {
	v, err := attributes(message, "rsi")
	if err != nil {
		return f, err
	}
	f.nonce = v[0]
	if f.nonce == "" || strings.Trim(f.nonce, printable) != "" {
		return f, errors.New("a nonce with odd octets")
	}
	if f.salt, err = base64.StdEncoding.DecodeString(v[1]); err != nil || len(f.salt) == 0 || len(f.salt) > maxSalt {
		return f, errors.New("no salt")
	}
	if f.rounds, err = strconv.Atoi(v[2]); err != nil || v[2][0] < '1' || v[2][0] > '9' {
		return f, errors.New("no number of rounds")
	}
	if f.rounds < leastRounds || f.rounds > maxRounds {
		return f, fmt.Errorf("%d rounds, want %d to %d", f.rounds, leastRounds, maxRounds)
	}
	return f, nil
}

func (f serverFirst) String() string {
	return "r=" + f.nonce + ",s=" + base64.StdEncoding.EncodeToString(f.salt) + ",i=" + strconv.Itoa(f.rounds)
}

// printable are the octets of a nonce: all of ASCII that show, but the comma.
const printable = "!\"#$%&'()*+-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"

// keys are made from a password: what a client proves that it has, and what a server
// does. A server stores stored and server, and never the password.
type keys struct{ client, stored, server []byte }

// makeKeys hashes a password.
func makeKeys(h func() hash.Hash, password string, salt []byte, rounds int) (keys, error) {
	salted, err := pbkdf2.Key(h, password, salt, rounds, h().Size())
	if err != nil {
		return keys{}, err
	}
	k := keys{client: keyed(h, salted, "Client Key"), server: keyed(h, salted, "Server Key")}
	sum := h()
	sum.Write(k.client)
	k.stored = sum.Sum(nil)
	return k, nil
}

// proof is what the client says of the exchange auth.
func (k keys) proof(h func() hash.Hash, auth string) []byte {
	signature := keyed(h, k.stored, auth)
	for i := range signature {
		signature[i] ^= k.client[i]
	}
	return signature
}

// signature is what the server says of it.
func (k keys) signature(h func() hash.Hash, auth string) []byte { return keyed(h, k.server, auth) }

func keyed(h func() hash.Hash, key []byte, text string) []byte {
	mac := hmac.New(h, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
