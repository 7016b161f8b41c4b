package auth

import (
	"encoding/binary"
	"errors"
	"fmt"

	"postoffice/vhost"
)

// Sizes, in octets.
const (
	questionSize = 4 + 1 + 8 + 2*(1+maxWord) // number, verb, octets, lengths and words: at most
	answerSize   = 4 + 1 + 8 + maxText       // number, kind, figure, text: at most

	maxWord = 255      // of a domain, and of a name
	maxText = 60 << 10 // what an alias stands for is the longest
	maxDir  = 4096     // of the directory of virtual domains, which the master tells

	maxSecret = 64 // of the secret that it tells
)

// verb is what is asked.
type verb byte

const (
	askUser  verb = 1 + iota // is there such a user? yes has the name as it is spelt, and what its mailbox may have
	askAlias                 // what is this an alias for? yes has its value and its line
	askUsed                  // how many octets are in that mailbox, if they are more than enough? yes has them
)

// kind is how it is answered.
type kind byte

const (
	yes   kind = 1 + iota
	no         // certainly not
	later      // it isn't known now, and the text says why
)

type question struct {
	number       uint32 // the answer has it too
	verb         verb
	enough       int64 // of askUsed
	domain, name string
}

type answer struct {
	number uint32 // 0: a note, of the kind later
	kind   kind
	figure int64 // of a user vhost.Box.Quota, of an alias its line, of a mailbox its octets
	text   string
}

var errForm = errors.New("not of a form that is sent")

// append encodes q behind b. Words beyond maxWord have no form.
func (q question) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, q.number)
	b = binary.BigEndian.AppendUint64(append(b, byte(q.verb)), uint64(q.enough))
	b = append(b, byte(len(q.domain)))
	b = append(append(b, q.domain...), byte(len(q.name)))
	return append(b, q.name...)
}

// decodeQuestion reads a question, all of b.
func decodeQuestion(b []byte) (q question, err error) {
	const head = 4 + 1 + 8
	if len(b) < head {
		return q, fmt.Errorf("question of %d octets: %w", len(b), errForm)
	}
	q.number, q.verb, q.enough = binary.BigEndian.Uint32(b), verb(b[4]), int64(binary.BigEndian.Uint64(b[5:]))
	rest := b[head:]
	for _, word := range []*string{&q.domain, &q.name} {
		if len(rest) == 0 || len(rest) < 1+int(rest[0]) {
			return q, fmt.Errorf("question that breaks off: %w", errForm)
		}
		n := 1 + int(rest[0])
		*word, rest = string(rest[1:n]), rest[n:]
	}
	switch {
	case q.verb < askUser || q.verb > askUsed:
		return q, fmt.Errorf("verb %d: %w", q.verb, errForm)
	case q.enough < 0, q.enough != 0 && q.verb != askUsed:
		return q, fmt.Errorf("verb %d with %d: %w", q.verb, q.enough, errForm)
	case len(rest) > 0:
		return q, fmt.Errorf("octets behind the question: %w", errForm)
	}
	return q, nil
}

// append encodes a behind b, with as much of the text as has a form.
func (a answer) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, a.number)
	b = append(b, byte(a.kind))
	b = binary.BigEndian.AppendUint64(b, uint64(a.figure))
	return append(b, a.text[:min(len(a.text), maxText)]...)
}

// noteOf is what the process says unasked: an answer without a number.
func noteOf(err error) []byte { return answer{kind: later, text: err.Error()}.append(nil) }

// decodeAnswer reads an answer, all of b, and its number.
func decodeAnswer(b []byte) (number uint32, a answer, err error) {
	const head = 4 + 1 + 8
	if len(b) < head || len(b) > answerSize {
		return 0, a, fmt.Errorf("answer of %d octets: %w", len(b), errForm)
	}
	a = answer{binary.BigEndian.Uint32(b), kind(b[4]), int64(binary.BigEndian.Uint64(b[5:])), string(b[head:])}
	switch {
	case a.kind < yes || a.kind > later:
		return 0, a, fmt.Errorf("answer of the kind %d: %w", a.kind, errForm)
	case a.number == 0 && a.kind != later:
		return 0, a, fmt.Errorf("answer to nobody: %w", errForm)
	case a.kind == no && a.text != "", a.kind != yes && a.figure != 0, a.figure < vhost.Unbound:
		return 0, a, fmt.Errorf("answer of the kind %d with more than that: %w", a.kind, errForm)
	}
	return a.number, a, nil
}
