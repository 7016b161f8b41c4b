package trymilter

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"postoffice/applets/config"
	"postoffice/applets/filters"
	"postoffice/internal/filterline"
	"postoffice/internal/message"
	"postoffice/internal/smtp"
	"postoffice/milter"
	"postoffice/resolver"
)

const (
	maxField = 64 << 10 // of a field that the filter is shown, in octets: what fits into a packet
	maxShown = 200      // of a value that is printed, in octets
)

// ErrFilter is that the filter failed: what it did was told.
var ErrFilter = errors.New("the filter failed")

// filter finds the filter that is meant.
func (t Task) filter(conf *config.Config) (*filterline.Filter, error) {
	var names []string
	for i := range conf.Filters {
		f := &conf.Filters[i]
		if f.Name == t.Name || f.Address == t.Name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	if len(names) == 0 {
		return nil, errNone
	}
	return nil, fmt.Errorf("no filter is called %.60q: there are %s", t.Name, strings.Join(names, ", "))
}

// trial is one message shown to one filter.
type trial struct {
	w    io.Writer
	c    *milter.Conn
	told []milter.Macro
	over bool // the filter has said its last word
	err  error
}

// Do makes the trial and tells of it. The error is ErrFilter where the filter failed.
func (t Task) Do(ctx context.Context, w io.Writer) error {
	conf, err := config.Decode(t.Settings)
	if err != nil {
		return err
	}
	f, err := t.filter(conf)
	if err != nil {
		return err
	}
	r := resolver.New(resolver.Options{Servers: conf.DNSServers})
	y := &trial{w: w}
	begin := time.Now()
	y.c, err = filters.Dial(ctx, *f, r.HostAddrs)
	if err != nil {
		fmt.Fprintf(w, "%-16s %v\n", "connection", err)
		return ErrFilter
	}
	defer y.c.Quit()
	fmt.Fprintf(w, "%-16s %s  %s\n", "connection", y.c.Terms(), since(begin))
	y.envelope()
	y.content(t.Message)
	y.end()
	if y.err != nil {
		return ErrFilter
	}
	return nil
}

func since(t time.Time) string { return time.Since(t).Round(10 * time.Microsecond).String() }

// step makes one step and tells of it, unless the trial is over.
func (y *trial) step(name string, at milter.Step, do func() (milter.Verdict, error)) {
	if y.over || y.err != nil {
		return
	}
	wants, begin := y.c.Wants(at), time.Now()
	v, err := do() // macros go to it all the same
	if !wants && err == nil {
		fmt.Fprintf(y.w, "%-16s not wanted\n", name)
		return
	}
	y.tell(name, v, err, begin)
}

func (y *trial) tell(name string, v milter.Verdict, err error, begin time.Time) {
	if y.err = err; err != nil {
		fmt.Fprintf(y.w, "%-16s failed: %v  %s\n", name, err, since(begin))
		return
	}
	said := v.Action.String()
	if !v.Reply.IsZero() {
		said += " " + v.Reply.String()
	}
	fmt.Fprintf(y.w, "%-16s %s  %s\n", name, said, since(begin))
	y.over = v.Action != milter.Continue && v.Action != milter.Skip
}

// envelope is all before the message.
func (y *trial) envelope() {
	here := netip.MustParseAddrPort("127.0.0.1:40000")
	y.told = []milter.Macro{{Name: "j", Value: "localhost"}, {Name: "i", Value: "TRIAL"}, {Name: "client_addr", Value: here.Addr().String()}, {Name: "client_name", Value: "localhost"}}
	macros := y.told
	const path = "<postmaster@example.org>"
	y.step("connect", milter.AtConnect, func() (milter.Verdict, error) {
		return y.c.Connect(milter.Client{Name: "localhost", Addr: here}, macros)
	})
	y.step("helo", milter.AtHelo, func() (milter.Verdict, error) { return y.c.Helo("localhost", macros) })
	y.step("mail "+path, milter.AtMail, func() (milter.Verdict, error) { return y.c.Mail(path, nil, macros) })
	y.step("rcpt "+path, milter.AtRcpt, func() (milter.Verdict, error) { return y.c.Rcpt(path, nil, macros) })
	y.step("data", milter.AtData, func() (milter.Verdict, error) { return y.c.Data(macros) })
}

// content is the message's header and body.
func (y *trial) content(text []byte) {
	r := bufio.NewReader(bytes.NewReader(text))
	for f := range message.Fields(r, maxField) {
		_, value, _ := strings.Cut(string(f.Text), ":")
		y.step("header "+string(f.Name()), milter.AtHeader, func() (milter.Verdict, error) {
			return y.c.Header(string(f.Name()), strings.TrimSuffix(value, "\n"))
		})
	}
	y.step("end of header", milter.AtEndOfHeader, func() (milter.Verdict, error) { return y.c.EndOfHeader(y.told) })
	body, _ := io.ReadAll(r) // it is in memory
	body = bytes.TrimPrefix(body, []byte("\n"))
	y.step(fmt.Sprintf("body, %d octets", len(body)), milter.AtBody, func() (milter.Verdict, error) { return y.c.Body(body) })
}

// end is the end of the message, with what the filter wants changed.
func (y *trial) end() {
	if y.over || y.err != nil {
		return
	}
	var body counter
	begin := time.Now()
	result, err := y.c.End(y.told, &body)
	y.tell("end of message", result.Verdict, err, begin)
	if a := result.Verdict.Action; a != milter.Continue && a != milter.Accept {
		return // they count for nothing
	}
	for _, e := range result.Edits {
		fmt.Fprintf(y.w, "    %s\n", describe(e, int64(body)))
	}
	for _, why := range result.Refused {
		fmt.Fprintf(y.w, "    refused: %s\n", smtp.Printable(why, maxShown))
	}
}

// describe says what an edit would change.
func describe(e milter.Edit, octets int64) string {
	value := smtp.Printable(e.Value, maxShown)
	switch e.Kind {
	case milter.AddHeader:
		return fmt.Sprintf("%v: %s:%s", e.Kind, e.Name, value)
	case milter.InsertHeader, milter.ChangeHeader, milter.DeleteHeader:
		return fmt.Sprintf("%v: %s:%s (%d)", e.Kind, e.Name, value, e.Index)
	case milter.ReplaceBody:
		return fmt.Sprintf("%v: by one of %d octets", e.Kind, octets)
	case milter.Quarantine:
		return fmt.Sprintf("%v: %s", e.Kind, value)
	}
	return fmt.Sprintf("%v: <%s>", e.Kind, e.Path)
}

// counter counts octets.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
