package resolver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postoffice/internal/testenv"
)

// TestMain fails when goroutines are left after all tests.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if f := flag.Lookup("test.fuzz"); f != nil && f.Value.String() != "" {
		os.Exit(code) // the fuzzing engine's own goroutines are still there
	}
	if !testenv.Eventually(func() bool { return runtime.NumGoroutine() <= before }) {
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		code = 1
	}
	os.Exit(code)
}

const (
	// patience is the limit of one try in tests where no server answers.
	patience = 150 * time.Millisecond
	// longPatience is that in tests where one does, however busy the machine is.
	longPatience = 3 * time.Second
)

// newTest makes a resolver that asks the given servers.
func newTest(t *testing.T, o Options, servers ...*testenv.DNS) *Resolver {
	t.Helper()
	for _, s := range servers {
		o.Servers = append(o.Servers, s.Addr())
	}
	dir := t.TempDir()
	if o.HostsFile == "" {
		o.HostsFile = filepath.Join(dir, "hosts")
	}
	if o.ResolvConf == "" {
		o.ResolvConf = filepath.Join(dir, "resolv.conf")
	}
	return New(o)
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// kind names the class of an error.
func kind(err error) string {
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, ErrNotFound):
		return "not found"
	case errors.Is(err, ErrNullMX):
		return "null MX"
	case errors.Is(err, ErrTemporary):
		return "temporary"
	}
	return err.Error()
}

func TestMX(t *testing.T) {
	d := testenv.NewDNS(t,
		"two.example. MX 20 b.two.example.", "two.example. MX 10 A.two.example.",
		"null.example. MX 0 .",
		"halfnull.example. MX 0 .", "halfnull.example. MX 10 mx.halfnull.example.",
		"bare.example. A 192.0.2.1",
		"alias.example. CNAME two.example.",
		"odd.example. MX 10 under_score.odd.example.", `odd.example. MX 5 x\032y.odd.example.`,
		`worse.example. MX 5 x\010y.odd.example.`,
	)
	r := newTest(t, Options{}, d)
	for _, tt := range []struct {
		name, domain, want string
	}{
		{"sorted and in lower case", "two.example", "10 a.two.example, 20 b.two.example"},
		{"letter case and final dot", "TWO.example.", "10 a.two.example, 20 b.two.example"},
		{"A58 null MX", "null.example", "null MX"},
		{"a dot beside others is no null MX", "halfnull.example", "10 mx.halfnull.example"},
		{"implicit", "bare.example", "0 bare.example implicit"},
		{"CNAME", "alias.example", "10 a.two.example, 20 b.two.example"},
		{"A63 no host name among others", "odd.example", "10 under_score.odd.example"},
		{"A63 no host name at all", "worse.example", "temporary"},
		{"A41 NXDOMAIN", "gone.example", "not found"},
		{"A41 no domain name", "a..b", "not found"},
		{"A41 a label of 64", strings.Repeat("x", 64) + ".example", "not found"},
		{"A41 octets outside ASCII", "b\u00fccher.example", "not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, err := r.MX(t.Context(), tt.domain)
			var words []string
			for _, mx := range list {
				w := fmt.Sprintf("%d %s", mx.Pref, mx.Host)
				if mx.Implicit {
					w += " implicit"
				}
				words = append(words, w)
			}
			got := strings.Join(words, ", ")
			if err != nil {
				got = kind(err)
			}
			if got != tt.want {
				t.Errorf("MX(%q) = %q (%v), want %q", tt.domain, got, err, tt.want)
			}
		})
	}
}

func TestMXRandomAmongEquals(t *testing.T) {
	d := testenv.NewDNS(t, "x.example. MX 10 a.example.", "x.example. MX 10 b.example.", "x.example. MX 5 first.example.")
	r := newTest(t, Options{}, d)
	seen := map[string]bool{}
	for range 200 {
		list, err := r.MX(t.Context(), "x.example")
		if err != nil || len(list) != 3 || list[0].Host != "first.example" {
			t.Fatalf("MX = %v, %v", list, err)
		}
		seen[list[1].Host] = true
	}
	if len(seen) != 2 {
		t.Errorf("second in 200 answers was always one of %v", seen)
	}
}

func TestAddrs(t *testing.T) {
	d := testenv.NewDNS(t,
		"both.example. A 192.0.2.1", "both.example. A 192.0.2.2", "both.example. AAAA 2001:db8::1",
		"six.example. AAAA 2001:db8::6",
		"mapped.example. AAAA ::ffff:192.0.2.9",
		"none.example. TXT hello",
	)
	r := newTest(t, Options{}, d)
	for _, tt := range []struct {
		host, kind string
		want       []netip.Addr
	}{
		{"both.example", "none", addrs("192.0.2.1", "2001:db8::1", "192.0.2.2")},
		{"six.example", "none", addrs("2001:db8::6")},
		{"mapped.example", "none", addrs("192.0.2.9")},
		{"none.example", "none", nil},
		{"gone.example", "not found", nil},
		{"[192.0.2.7]", "none", addrs("192.0.2.7")},
		{"[IPv6:2001:db8::7]", "none", addrs("2001:db8::7")},
		{"[nonsense]", "not found", nil},
	} {
		got, err := r.Addrs(t.Context(), tt.host)
		if !slices.Equal(got, tt.want) || kind(err) != tt.kind {
			t.Errorf("Addrs(%q) = %v, %v; want %v, %s", tt.host, got, err, tt.want, tt.kind)
		}
	}
}

func TestAddrsOneFamilyIsEnough(t *testing.T) {
	d := testenv.NewDNS(t, "x.example. A 192.0.2.1")
	d.Script("AAAA x.example", testenv.Servfail)
	d.Script("AAAA y.example", testenv.Servfail)
	r := newTest(t, Options{}, d)
	if got, err := r.Addrs(t.Context(), "x.example"); err != nil || !slices.Equal(got, addrs("192.0.2.1")) {
		t.Errorf("Addrs = %v, %v", got, err)
	}
	d.Add("y.example. TXT there")
	if got, err := r.Addrs(t.Context(), "y.example"); kind(err) != "temporary" {
		t.Errorf("no A and AAAA unknown: Addrs = %v, %v; want temporary", got, err)
	}
}

// A63, B38: every way a server can misbehave, and what must come of it.
func TestA63Servers(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		acts       []testenv.Act
	}{
		{"SERVFAIL", "temporary", []testenv.Act{testenv.Servfail}},
		{"REFUSED", "temporary", []testenv.Act{testenv.Refused}},
		{"silence", "temporary", []testenv.Act{testenv.Silent}},
		{"silence, then an answer", "none", []testenv.Act{testenv.Silent, testenv.Proper}},
		{"wrong ID", "temporary", []testenv.Act{testenv.WrongID}},
		{"wrong question", "temporary", []testenv.Act{testenv.WrongQuestion}},
		{"wrong source", "temporary", []testenv.Act{testenv.WrongSource}},
		{"all three wrong, then the true answer", "none", []testenv.Act{
			testenv.Then(testenv.WrongID, testenv.WrongQuestion, testenv.WrongSource, testenv.Proper)}},
		{"compression loop", "temporary", []testenv.Act{testenv.CompressionLoop}},
		{"two octets", "temporary", []testenv.Act{testenv.Raw(nil)}},
		{"a header alone", "temporary", []testenv.Act{testenv.Raw([]byte{0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0})}},
		{"a header that promises records", "temporary", []testenv.Act{testenv.Raw([]byte{0x81, 0x80, 0, 1, 255, 255, 0, 0, 0, 0})}},
		{"no EDNS0", "none", []testenv.Act{testenv.NoEDNS}},
		{"FORMERR for ever", "temporary", []testenv.Act{testenv.Formerr}},
		{"lame", "temporary", []testenv.Act{testenv.Lame}},
		{"truncated, whole by TCP", "none", []testenv.Act{testenv.Truncated}},
		{"truncated, by TCP another's answer", "temporary", []testenv.Act{byTCP(testenv.WrongID)}},
		{"truncated, by TCP another question's", "temporary", []testenv.Act{byTCP(testenv.WrongQuestion)}},
		{"truncated, by TCP too", "temporary", []testenv.Act{byTCP(func(x *testenv.Exchange) {
			x.Answer.Truncated = true
			testenv.AliasOnly(x)
		})}},
		{"truncated, by TCP rubbish", "temporary", []testenv.Act{byTCP(testenv.CompressionLoop)}},
		{"truncated, by TCP nothing", "temporary", []testenv.Act{byTCP(testenv.Silent)}},
		{"truncated within a record", "none", []testenv.Act{func(x *testenv.Exchange) {
			if x.TCP {
				testenv.Proper(x)
				return
			}
			testenv.Raw([]byte{0x83, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 1, 'x', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1, 0xc0})(x)
		}}},
		{"an unknown code", "temporary", []testenv.Act{testenv.Code(14)}},
		{"empty NOERROR", "no address", []testenv.Act{testenv.Empty}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := testenv.NewDNS(t, "x.example. A 192.0.2.1")
			d.Script("A x.example", tt.acts...)
			o := Options{Try: patience}
			if tt.want != "temporary" {
				o.Try = longPatience
			}
			r := newTest(t, o, d)
			got, err := r.Addrs(t.Context(), "x.example")
			result := kind(err)
			if err == nil && len(got) == 0 {
				result = "no address"
			}
			if result != tt.want {
				t.Errorf("Addrs = %v, %v; want %s", got, err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), d.Addr()) {
				t.Errorf("%q doesn't say who was asked", err)
			}
		})
	}
}

// byTCP cuts the answer by UDP and does act by TCP.
func byTCP(act testenv.Act) testenv.Act {
	return func(x *testenv.Exchange) {
		if x.TCP {
			act(x)
			return
		}
		testenv.Truncated(x)
	}
}

func TestR8UDPOnly(t *testing.T) {
	d := testenv.NewDNSUDPOnly(t, "x.example. MX 10 mx.x.example.", "mx.x.example. A 192.0.2.1")
	r := newTest(t, Options{}, d)
	if list, err := r.MX(t.Context(), "x.example"); err != nil || len(list) != 1 {
		t.Errorf("MX = %v, %v", list, err)
	}
	d.Script("", testenv.Truncated)
	if _, err := r.Addrs(t.Context(), "mx.x.example"); kind(err) != "temporary" {
		t.Errorf("cut answer and no TCP: %v, want temporary", err)
	}
}

// R15: the number of questions of each step.
func TestR15Questions(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*Resolver)
		want []string
	}{
		{"MX", func(r *Resolver) { r.MX(context.Background(), "x.example") }, []string{"MX x.example"}},
		{"implicit MX", func(r *Resolver) { r.MX(context.Background(), "mx.x.example") }, []string{"MX mx.x.example"}},
		{"addresses", func(r *Resolver) { r.Addrs(context.Background(), "mx.x.example") }, []string{"A mx.x.example", "AAAA mx.x.example"}},
		{"addresses of a literal", func(r *Resolver) { r.Addrs(context.Background(), "[192.0.2.1]") }, nil},
		{"no such name", func(r *Resolver) { r.MX(context.Background(), "gone.example") }, []string{"MX gone.example"}},
		{"SERVFAIL", func(r *Resolver) { r.MX(context.Background(), "bad.example") }, []string{"MX bad.example"}},
		{"name", func(r *Resolver) { r.Name(context.Background(), netip.MustParseAddr("192.0.2.1")) },
			[]string{"A mx.x.example", "PTR 1.2.0.192.in-addr.arpa"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := testenv.NewDNS(t, "x.example. MX 10 mx.x.example.", "mx.x.example. A 192.0.2.1", "1.2.0.192.in-addr.arpa. PTR mx.x.example.")
			d.Script("MX bad.example", testenv.Servfail)
			tt.do(newTest(t, Options{}, d))
			got := d.Asked()
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("asked %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSecondServerIsAsked(t *testing.T) {
	for _, tt := range []struct {
		name string
		act  testenv.Act
	}{{"SERVFAIL", testenv.Servfail}, {"silence", testenv.Silent}, {"lame", testenv.Lame}, {"rubbish", testenv.CompressionLoop}} {
		t.Run(tt.name, func(t *testing.T) {
			bad, good := testenv.NewDNS(t), testenv.NewDNS(t, "x.example. MX 10 mx.x.example.")
			bad.Script("", tt.act)
			r := newTest(t, Options{Try: longPatience, CacheSize: -1}, bad, good)
			for range 2 {
				if list, err := r.MX(t.Context(), "x.example"); err != nil || len(list) != 1 {
					t.Errorf("MX = %v, %v", list, err)
				}
			}
			if n := len(bad.Asked()); tt.name == "silence" && n != 1 {
				t.Errorf("the silent server was asked %d times, want once: then it rests", n)
			}
		})
	}
}

func TestDeadServer(t *testing.T) {
	d := testenv.NewDNS(t)
	d.Close() // port unreachable
	r := newTest(t, Options{Try: patience}, d)
	if _, err := r.MX(t.Context(), "x.example"); kind(err) != "temporary" {
		t.Errorf("MX = %v, want temporary", err)
	}
}

func TestTotalTimeout(t *testing.T) {
	var servers []*testenv.DNS
	for range 4 {
		d := testenv.NewDNS(t)
		d.Script("", testenv.Silent)
		servers = append(servers, d)
	}
	const try = time.Hour
	r := newTest(t, Options{Try: try, Timeout: patience}, servers...)
	start := time.Now()
	_, err := r.MX(t.Context(), "x.example")
	if took := time.Since(start); kind(err) != "temporary" || took > try/2 {
		t.Errorf("MX = %v after %v, want temporary within %v", err, took, patience)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience/3, os.ErrClosed)
	defer cancel()
	if _, err := r.MX(ctx, "y.example"); kind(err) != "temporary" || !errors.Is(err, os.ErrClosed) {
		t.Errorf("MX with a context that ended = %v, want temporary and the context's cause", err)
	}
}

// R62, A58: chains of CNAMEs end at ten, in one message or in many.
func TestR62CNAMEs(t *testing.T) {
	chain := func(n int) (records []string) {
		for i := range n {
			records = append(records, fmt.Sprintf("c%d.x.example. CNAME c%d.x.example.", i, i+1))
		}
		return append(records, fmt.Sprintf("c%d.x.example. A 192.0.2.1", n))
	}
	for _, tt := range []struct {
		name    string
		records []string
		act     testenv.Act
		want    string
		most    int
	}{
		{"ten at once", chain(10), testenv.Proper, "none", 1},
		{"eleven at once", chain(11), testenv.Proper, "temporary", 1},
		{"ten one by one", chain(10), testenv.AliasOnly, "none", 11},
		{"eleven one by one", chain(11), testenv.AliasOnly, "temporary", 11},
		{"to itself", []string{"c0.x.example. CNAME c0.x.example."}, testenv.Proper, "temporary", 1},
		{"to itself one by one", []string{"c0.x.example. CNAME c0.x.example."}, testenv.AliasOnly, "temporary", 11},
		{"to nothing", []string{"c0.x.example. CNAME gone.x.example."}, testenv.Proper, "not found", 1},
		{"to no name", []string{`c0.x.example. CNAME a\010b.x.example.`}, testenv.Proper, "temporary", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := testenv.NewDNS(t, tt.records...)
			d.Script("", tt.act)
			r := newTest(t, Options{}, d)
			_, err := r.lookup(t.Context(), r.forMail, "c0.x.example", 1)
			if n := len(d.Asked()); kind(err) != tt.want || n > tt.most {
				t.Errorf("%v after %d questions; want %s, at most %d", err, n, tt.want, tt.most)
			}
		})
	}
}

func TestB89OtherRecordsAreNotRead(t *testing.T) {
	d := testenv.NewDNS(t, "x.example. MX 10 mx.x.example.")
	d.Script("MX x.example", func(x *testenv.Exchange) {
		x.Answer.Answer = append(x.Answer.Answer, testenv.RR("x.example. A 192.0.2.66"),
			testenv.RR("other.example. MX 1 evil.example."), testenv.RR("x.example. 60 CH MX 1 evil.example."))
		testenv.Proper(x)
	})
	r := newTest(t, Options{}, d)
	list, err := r.MX(t.Context(), "x.example")
	if err != nil || len(list) != 1 || list[0].Host != "mx.x.example" {
		t.Errorf("MX = %v, %v; want mx.x.example alone", list, err)
	}
}

func TestR45MinimalAnswer(t *testing.T) {
	d := testenv.NewDNS(t, "x. A 192.0.2.1")
	d.Script("A x", testenv.NoEDNS)
	r := newTest(t, Options{}, d)
	if got, err := r.Addrs(t.Context(), "x"); err != nil || len(got) != 1 {
		t.Errorf("Addrs = %v, %v", got, err)
	}
}

func TestName(t *testing.T) {
	long := strings.Repeat(`\000`, 60)
	d := testenv.NewDNS(t,
		"1.2.0.192.in-addr.arpa. PTR Good.example.", "good.example. A 192.0.2.1",
		"2.2.0.192.in-addr.arpa. PTR liar.example.", "liar.example. A 192.0.2.1",
		`3.2.0.192.in-addr.arpa. PTR x\010X-I:\032y.`,
		"4.2.0.192.in-addr.arpa. PTR "+strings.Join([]string{long, long, long, long}, ".")+".",
		"5.2.0.192.in-addr.arpa. CNAME 5.0/25.2.0.192.in-addr.arpa.", "5.0/25.2.0.192.in-addr.arpa. PTR classless.example.", "classless.example. A 192.0.2.5",
		"6.2.0.192.in-addr.arpa. CNAME 6.2.0.192.in-addr.arpa.",
		"7.2.0.192.in-addr.arpa. PTR liar.example.", "7.2.0.192.in-addr.arpa. PTR seven.example.", "seven.example. CNAME real.example.", "real.example. A 192.0.2.7",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR six.example.", "six.example. AAAA 2001:db8::1",
	)
	d.Script("PTR 9.2.0.192.in-addr.arpa", testenv.Servfail)
	r := newTest(t, Options{}, d)
	for _, tt := range []struct{ name, addr, want string }{
		{"confirmed", "192.0.2.1", "good.example"},
		{"IPv4 in IPv6 clothes", "::ffff:192.0.2.1", "good.example"},
		{"not confirmed (B39)", "192.0.2.2", ""},
		{"A63 a line of header", "192.0.2.3", ""},
		{"A63 255 octets of NUL", "192.0.2.4", ""},
		{"classless delegation", "192.0.2.5", "classless.example"},
		{"R62 CNAME to itself", "192.0.2.6", ""},
		{"the second name, by a CNAME", "192.0.2.7", "seven.example"},
		{"none", "192.0.2.8", ""},
		{"SERVFAIL", "192.0.2.9", ""},
		{"IPv6", "2001:db8::1", "six.example"},
	} {
		if got, _ := r.Name(t.Context(), netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%s: Name(%s) = %q, want %q", tt.name, tt.addr, got, tt.want)
		}
	}
}

func TestEqualQuestionsAreMerged(t *testing.T) {
	d := testenv.NewDNS(t, "x.example. MX 10 mx.x.example.")
	release := make(chan struct{})
	d.Script("MX x.example", testenv.Hold(release, testenv.Proper))
	r := newTest(t, Options{}, d)
	q := question{"x.example", 15}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if list, err := r.MX(t.Context(), "x.example"); err != nil || len(list) != 1 {
				t.Errorf("MX = %v, %v", list, err)
			}
		})
	}
	waitFor(t, func() bool { return r.calls.waiting(q) == 50 })
	// One who loses patience disturbs nobody.
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := r.MX(ctx, "x.example")
		left <- err
	}()
	waitFor(t, func() bool { return r.calls.waiting(q) == 51 })
	cancel()
	if err := <-left; kind(err) != "temporary" || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	close(release)
	wg.Wait()
	if n := d.Count("MX x.example"); n != 1 {
		t.Errorf("50 callers asked %d times", n)
	}
}

// waiting says how many wait for q.
func (f *flights) waiting(q question) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.flying[q]; c != nil {
		return c.waiters
	}
	return 0
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	if !testenv.Eventually(ok) {
		t.Fatal("it never came to pass")
	}
}

func TestTXT(t *testing.T) {
	d := testenv.NewDNS(t, `x.example. TXT "v=spf1 ip4:192.0.2.0/24" " -all"`, `x.example. TXT "a\"b"`, "alias.example. CNAME x.example.", "none.example. A 192.0.2.1")
	r := newTest(t, Options{}, d)
	for _, name := range []string{"x.example", "alias.example"} {
		got, err := r.TXT(t.Context(), name)
		slices.Sort(got)
		if want := []string{`a\"b`, "v=spf1 ip4:192.0.2.0/24 -all"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	if got, err := r.TXT(t.Context(), "none.example"); len(got) > 0 || err != nil {
		t.Errorf("a name without texts: %q, %v", got, err)
	}
	for _, name := range []string{"missing.example", "no name"} {
		if _, err := r.TXT(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
}
