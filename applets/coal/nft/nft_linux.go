//go:build linux && !lite

package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// maxElements bounds the networks in each of the two sets; the kernel holds it.
const maxElements = 10_000

// ErrFull says that a set has as many networks as it may have.
var ErrFull = errors.New("as many are kept out as may be")

// Table is the table inet postoffice.
type Table struct {
	ports []uint16

	mu   sync.Mutex // guards what follows
	sets [2]*nftables.Set
}

// Open makes the table anew, empty, for ports of TCP. It needs CAP_NET_ADMIN.
func Open(ports []uint16) (*Table, error) {
	t := &Table{ports: ports}
	if err := t.make(); err != nil {
		return nil, err
	}
	return t, nil
}

// Supported says why this build has no such table; nil: it has.
func Supported() error { return nil }

// Add keeps a network out for a while: one address of IPv4, or a /64 of IPv6. One that
// is kept out already stays so for as long as it was to at least. A table that somebody
// has removed, as a firewall that is loaded anew does, is made again.
func (t *Table) Add(p netip.Prefix, d time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.add(p, d)
	if errors.Is(err, fs.ErrNotExist) {
		if err = t.make(); err == nil {
			err = t.add(p, d)
		}
	}
	if errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOSPC) {
		return ErrFull
	}
	return err
}

func (t *Table) add(p netip.Prefix, d time.Duration) error {
	set := t.sets[0]
	if p.Addr().Is6() {
		set = t.sets[1]
	}
	c := &nftables.Conn{}
	if err := c.SetAddElements(set, []nftables.SetElement{{Key: p.Masked().Addr().AsSlice(), Timeout: d}}); err != nil {
		return err
	}
	return c.Flush()
}

// Close removes the table: nobody is kept out any more.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &nftables.Conn{}
	c.DelTable(table())
	if err := c.Flush(); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func table() *nftables.Table {
	return &nftables.Table{Name: "postoffice", Family: nftables.TableFamilyINet}
}

// make makes the table, in the place of one that is there.
func (t *Table) make() error {
	c := &nftables.Conn{}
	own := table()
	c.AddTable(own)
	c.DelTable(own)
	c.AddTable(own)
	accept := nftables.ChainPolicyAccept
	chain := c.AddChain(&nftables.Chain{Name: "coal", Table: own, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter, Policy: &accept})
	for i, f := range families() {
		t.sets[i] = &nftables.Set{Table: own, Name: f.set, KeyType: f.key, HasTimeout: true, Size: maxElements}
		if err := c.AddSet(t.sets[i], nil); err != nil {
			return fmt.Errorf("make the set %s: %w", f.set, err)
		}
		for _, port := range t.ports {
			c.AddRule(&nftables.Rule{Table: own, Chain: chain, Exprs: f.rule(port, t.sets[i])})
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("make the table inet postoffice: %w", err)
	}
	return nil
}

// family is what differs between IPv4 and IPv6.
type family struct {
	set            string
	key            nftables.SetDatatype
	proto          byte   // of meta nfproto
	offset, length uint32 // of the source address in the header
	mask           []byte // what counts of the address; nil: all of it
}

func families() [2]family {
	return [2]family{
		{"coal4", nftables.TypeIPAddr, unix.NFPROTO_IPV4, 12, 4, nil},
		{"coal6", nftables.TypeIP6Addr, unix.NFPROTO_IPV6, 8, 16, []byte{255, 255, 255, 255, 255, 255, 255, 255, 15: 0}},
	}
}

// rule drops the first packet of a connection to a port from whoever is in the set.
func (f *family) rule(port uint16, set *nftables.Set) []expr.Any {
	const (
		r     = 1    // the register
		flags = 13   // where the flags are in the header of TCP
		first = 0x02 // SYN
		of    = 0x17 // of FIN, SYN, RST and ACK
	)
	all := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: r},
		&expr.Cmp{Op: expr.CmpOpEq, Register: r, Data: []byte{f.proto}},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r},
		&expr.Cmp{Op: expr.CmpOpEq, Register: r, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: r, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: r, Data: binary.BigEndian.AppendUint16(nil, port)},
		&expr.Payload{DestRegister: r, Base: expr.PayloadBaseTransportHeader, Offset: flags, Len: 1},
		&expr.Bitwise{SourceRegister: r, DestRegister: r, Len: 1, Mask: []byte{of}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: r, Data: []byte{first}},
		&expr.Payload{DestRegister: r, Base: expr.PayloadBaseNetworkHeader, Offset: f.offset, Len: f.length},
	}
	if f.mask != nil {
		all = append(all, &expr.Bitwise{SourceRegister: r, DestRegister: r, Len: f.length, Mask: f.mask, Xor: make([]byte, f.length)})
	}
	return append(all,
		&expr.Lookup{SourceRegister: r, SetName: set.Name, SetID: set.ID},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	)
}
