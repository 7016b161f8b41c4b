package milter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Versions of the protocol. 2 is sendmail 8.11's; 6 is 8.14's, and there is no newer
// one.
const (
	minVersion = 2
	maxVersion = 6 // of the protocol that is offered: sendmail 8.14 brought it, and there is no newer one
)

// What a filter may do at the end of a message (libmilter's SMFIF_…).
const (
	mayAddHeaders = 1 << iota
	mayReplaceBody
	mayAddRcpt
	mayDeleteRcpt
	mayChangeHeaders
	mayQuarantine
	mayChangeFrom
	mayAddRcptParams
	maySetMacros
	allActions = 1<<iota - 1
)

// What a filter doesn't want, won't answer, or can do (SMFIP_…).
const (
	noConnect     = 1 << 0
	noHelo        = 1 << 1
	noMail        = 1 << 2
	noRcpt        = 1 << 3
	noBody        = 1 << 4
	noHeader      = 1 << 5
	noEndOfHeader = 1 << 6
	mumHeader     = 1 << 7
	noUnknown     = 1 << 8
	noData        = 1 << 9
	canSkip       = 1 << 10
	wantsRejected = 1 << 11
	mumConnect    = 1 << 12
	mumHelo       = 1 << 13
	mumMail       = 1 << 14
	mumRcpt       = 1 << 15
	mumData       = 1 << 16
	mumUnknown    = 1 << 17
	mumEOH        = 1 << 18
	mumBody       = 1 << 19
	leadingBlank  = 1 << 20
	data256K      = 1 << 28
	data1M        = 1 << 29
	allSteps      = 1<<21 - 1
	largePackets  = data256K | data1M
)

// Terms are what both sides have agreed on.
type Terms struct {
	Version  int    // 2 to 6
	Actions  uint32 // which edits the filter may make, as libmilter's SMFIF bits
	Protocol uint32 // which steps it wants and answers, as libmilter's SMFIP bits

	chunk int // octets of data that a packet to the filter may have
}

// String is the terms in words: the version, the edits, the steps that are left out
// and those without an answer.
func (t Terms) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version %d", t.Version)
	words := func(title string, bits uint32, names []bitName) {
		for _, n := range names {
			if bits&n.bit != 0 {
				b.WriteString(title + n.name)
				title = ", "
			}
		}
	}
	words("; may ", t.Actions, actionBits[:])
	words("; ", t.Protocol, protocolBits[:])
	return b.String()
}

type bitName struct {
	bit  uint32
	name string
}

var actionBits = [...]bitName{
	{mayAddHeaders, "add header fields"},
	{mayChangeHeaders, "change header fields"},
	{mayReplaceBody, "replace the body"},
	{mayAddRcpt, "add recipients"},
	{mayAddRcptParams, "add recipients with parameters"},
	{mayDeleteRcpt, "delete recipients"},
	{mayChangeFrom, "change the sender"},
	{mayQuarantine, "quarantine"},
	{maySetMacros, "choose macros"},
}

var protocolBits = [...]bitName{
	{noConnect, "no connect"},
	{noHelo, "no helo"},
	{noMail, "no mail"},
	{noRcpt, "no rcpt"},
	{noData, "no data"},
	{noHeader, "no header"},
	{noEndOfHeader, "no end of header"},
	{noBody, "no body"},
	{noUnknown, "no unknown commands"},
	{mumConnect, "connect without answer"},
	{mumHelo, "helo without answer"},
	{mumMail, "mail without answer"},
	{mumRcpt, "rcpt without answer"},
	{mumData, "data without answer"},
	{mumHeader, "header without answer"},
	{mumEOH, "end of header without answer"},
	{mumBody, "body without answer"},
	{mumUnknown, "unknown commands without answer"},
	{canSkip, "skips"},
	{wantsRejected, "refused recipients too"},
	{leadingBlank, "leading blanks"},
	{data256K, "chunks of 256 KiB"},
	{data1M, "chunks of 1 MiB"},
}

// The data that a packet may have, by what was agreed on (libmilter's MILTER_MDS_…).
const (
	chunk64K  = 64<<10 - 1
	chunk256K = 256<<10 - 1
	chunk1M   = 1<<20 - 1
)

// negotiate makes the offer, which is all there is, and takes the answer.
func (c *Conn) negotiate() error {
	c.terms.chunk = chunk64K
	offered := uint32(allSteps)
	if c.o.LargePackets {
		offered |= largePackets
	}
	var offer [12]byte
	binary.BigEndian.PutUint32(offer[0:], maxVersion)
	binary.BigEndian.PutUint32(offer[4:], allActions)
	binary.BigEndian.PutUint32(offer[8:], offered)
	if err := c.write('O', offer[:]); err != nil {
		return err
	}
	if err := c.w.Flush(); err != nil {
		return err
	}
	p, err := c.next()
	if err != nil {
		return err
	}
	if p.code != 'O' {
		return fmt.Errorf("the filter answered the negotiation with %s", p)
	}
	data, err := c.text(p)
	if err != nil {
		return fmt.Errorf("the filter's answer to the negotiation: %w", err)
	}
	c.terms, c.lists, err = readTerms(data, offered)
	return err
}

// readTerms reads a filter's answer to the negotiation: three words, and its own lists
// of macros behind them. offered are the protocol bits that it may choose from.
func readTerms(data []byte, offered uint32) (t Terms, lists [lastList + 1][]string, err error) {
	if len(data) < 12 {
		return t, lists, fmt.Errorf("the filter's answer to the negotiation has %d octets, want 12 or more", len(data))
	}
	version := binary.BigEndian.Uint32(data)
	t = Terms{
		Actions:  binary.BigEndian.Uint32(data[4:]),
		Protocol: binary.BigEndian.Uint32(data[8:]),
		chunk:    chunk64K,
	}
	switch {
	case version < minVersion || version > maxVersion:
		return t, lists, fmt.Errorf("the filter speaks version %d of the protocol, want %d to %d", version, minVersion, maxVersion)
	case t.Actions&^allActions != 0:
		return t, lists, fmt.Errorf("the filter wants actions that weren't offered: %#x", t.Actions&^uint32(allActions))
	case t.Protocol&^offered != 0:
		return t, lists, fmt.Errorf("the filter wants protocol options that weren't offered: %#x", t.Protocol&^offered)
	}
	t.Version = int(version)
	switch {
	case t.Protocol&data1M != 0:
		t.chunk = chunk1M
	case t.Protocol&data256K != 0:
		t.chunk = chunk256K
	}
	// What a version hasn't got is never sent, as sendmail does it.
	if t.Version < 4 {
		t.Protocol |= noData
	}
	if t.Version < 3 {
		t.Protocol |= noUnknown
	}
	lists, err = readLists(data[12:])
	return t, lists, err
}

// readLists reads lists of macros: for each the step as a word, and names with blanks
// or commas between them, ended by NUL. A step that has no macros is passed over.
func readLists(data []byte) (lists [lastList + 1][]string, err error) {
	for len(data) > 0 {
		if len(data) < 5 {
			return lists, errors.New("the filter's list of macros is cut off")
		}
		which := binary.BigEndian.Uint32(data)
		end := strings.IndexByte(string(data[4:]), 0)
		if end < 0 {
			return lists, errors.New("the filter's list of macros has no end")
		}
		names := strings.FieldsFunc(string(data[4:4+end]), func(r rune) bool { return r == ' ' || r == ',' })
		if which <= lastList {
			if len(names) > maxMacros {
				return lists, fmt.Errorf("the filter wants %d macros at one step, which is over %d", len(names), maxMacros)
			}
			lists[which] = append([]string{}, names...)
		}
		data = data[4+end+1:]
	}
	return lists, nil
}
