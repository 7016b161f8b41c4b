//go:build e2e

package letters

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Letter is a message of a fault test. It proves by itself that it is whole.
type Letter struct {
	Token string
	To    string
	Text  string // header and body, LF line ends
}

// New makes a letter with a random body of at most size octets, some of
// whose lines begin with a dot.
func New(to string, size int) Letter {
	token := strings.ToLower(rand.Text())
	raw := make([]byte, 1+Roll(size*3/4))
	rand.Read(raw)
	var body strings.Builder
	for code := base64.StdEncoding.EncodeToString(raw); code != ""; {
		n := min(72, len(code))
		if Roll(8) == 0 {
			body.WriteByte('.')
		}
		body.WriteString(code[:n] + "\n")
		code = code[n:]
	}
	text := fmt.Sprintf("From: <writer@two.test>\nTo: <%s>\nSubject: fault\nX-Token: %s\nX-Sum: %s\n\n%s",
		to, token, bodySum(body.String()), body.String())
	return Letter{token, to, text}
}

func bodySum(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// Roll is a random number from 0 up to, not including, n.
func Roll(n int) int {
	v, err := rand.Int(rand.Reader, big.NewInt(int64(max(n, 1))))
	if err != nil {
		panic(err)
	}
	return int(v.Int64())
}

// Span is a random duration between the two.
func Span(from, to time.Duration) time.Duration { return from + time.Duration(Roll(int(to-from))) }
