package envelope

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// The first line has fixed columns, so that it can be filled in when all else
// is written. Until then it is dashes, which no reader takes.
const (
	firstStart = "postoffice 1 envelope="
	firstData  = " data="
	firstSum   = " data-crc32c="
	firstCheck = " crc32c="

	envelopeDigits = 8
	dataDigits     = 15
	sumDigits      = 8

	firstChecked = len(firstStart) + envelopeDigits + len(firstData) + dataDigits +
		len(firstSum) + sumDigits + len(firstCheck) // the octets before the check's own
	firstLen = firstChecked + sumDigits + 1
)

// Limits of the format, for the writer and so for the reader.
const (
	MaxTail  = 64 << 20 // octets behind the data
	MaxNotes = 32 << 20 // the tail grows no notes beyond

	maxLine     = 64 << 10 // octets of one line with its LF
	maxEnvelope = 32 << 20 // octets of the envelope
	maxData     = 1e15 - 1 // what the columns hold
)

// sum continues a CRC-32C, which processors compute.
func sum(crc uint32, p []byte) uint32 {
	return crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), p) // the table is made once
}

// first is the first line's content.
type first struct {
	envelope int    // octets of the envelope with its empty line
	data     int64  // octets of the data
	dataSum  uint32 // of the data
	check    uint32 // of the envelope with pending slots, then of the line before it
}

// appendFirst adds the line up to its own check.
func appendFirst(b []byte, f first) []byte {
	b = append(b, firstStart...)
	b = appendDigits(b, uint64(f.envelope), 10, envelopeDigits)
	b = append(b, firstData...)
	b = appendDigits(b, uint64(f.data), 10, dataDigits)
	b = append(b, firstSum...)
	b = appendDigits(b, uint64(f.dataSum), 16, sumDigits)
	return append(b, firstCheck...)
}

// appendCheck completes the line.
func appendCheck(b []byte, check uint32) []byte {
	return append(appendDigits(b, uint64(check), 16, sumDigits), '\n')
}

// blankFirst is the line of a message that is still being written.
func blankFirst() []byte {
	return append([]byte(strings.Repeat("-", firstLen-1)), '\n')
}

func appendDigits(b []byte, v uint64, base, width int) []byte {
	n := len(b)
	b = strconv.AppendUint(b, v, base)
	for len(b)-n < width {
		b = append(b, 0)
		copy(b[n+1:], b[n:])
		b[n] = '0'
	}
	return b
}

// parseFirst reads a first line with its LF.
func parseFirst(line []byte) (f first, err error) {
	p := scanner{s: string(line), ok: true}
	p.lit(firstStart)
	f.envelope = int(p.digits(10, envelopeDigits))
	p.lit(firstData)
	f.data = int64(p.digits(10, dataDigits))
	p.lit(firstSum)
	f.dataSum = uint32(p.digits(16, sumDigits))
	p.lit(firstCheck)
	f.check = uint32(p.digits(16, sumDigits))
	if !p.ok || string(appendCheck(appendFirst(nil, f), f.check)) != string(line) {
		return f, firstFault(line)
	}
	if f.envelope > maxEnvelope {
		return f, damage("envelope of %d octets, more than %d", f.envelope, maxEnvelope)
	}
	return f, nil
}

// digits takes width digits.
func (p *scanner) digits(base, width int) uint64 {
	if !p.ok || len(p.s) < width {
		p.ok = false
		return 0
	}
	v, err := strconv.ParseUint(p.s[:width], base, 64)
	p.ok = err == nil
	p.s = p.s[width:]
	return v
}

// newer is a file that a later version of the format made: no damage.
type newer struct{ version int }

func (n newer) Error() string {
	return fmt.Sprintf("written in format %d by a newer postoffice; this one reads format 1", n.version)
}

// firstFault says why line is no first line.
func firstFault(line []byte) error {
	p := scanner{s: string(line), ok: true}
	p.lit("postoffice ")
	if v := p.number(" "); p.ok && v > 1 && p.more(" envelope=") {
		return newer{v}
	}
	if strings.Trim(string(line), "\x00") == "" {
		return damage("begins with zeros: its contents never reached the disk")
	}
	return damage("first line is no message's: %.40q", line)
}
