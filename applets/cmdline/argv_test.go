package cmdline

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// classicFlags are flags such as sendmail's applet defines.
func classicFlags() *pflag.FlagSet {
	e := &Env{Program: "sendmail"}
	e.Prepare(Applet{Name: "sendmail", Classic: true, Ignored: SendmailIgnored}, nil)
	e.Flags.VarP(new(Text), "sender", "f", "")
	e.Flags.StringP("name", "F", "", "")
	e.Flags.BoolP("recipients", "t", false, "")
	e.Flags.BoolP("ignore-dots", "i", false, "")
	e.Flags.StringP("notify", "N", "", "")
	e.Flags.StringP("return-what", "R", "", "")
	e.Flags.String(EnvelopeID, "", "")
	e.Flags.String(DeliveryMode, "", "")
	e.Flags.StringP("mode", "b", "", "")
	e.Flags.StringP("queue", "q", "", "")
	e.Flags.Lookup("queue").NoOptDefVal = "-"
	e.common()
	return e.Flags
}

func TestNormalise(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{ // want beginning with "!" is an error
		{"nothing", "", ""},
		{"a cluster", "-ti", "-t -i"},
		{"a cluster with an ignored flag", "-tiv", "-t -i"},
		{"a cluster that ends in a value", "-tifalice", "-t -i -f alice"},
		{"a cluster with the value behind it", "-tif alice bob", "-t -i -f alice -- bob"},
		{"glued", "-fuser", "-f user"},
		{"glued with =", "-f=user", "-f =user"},
		{"glued with a dash", "-f-x", "-f -x"},
		{"apart", "-f user", "-f user"},
		{"apart with a dash", "-f -x", "-f -x"},
		{"no value", "-f", "!flag -f needs a value"},
		{"optional, glued", "-q15m", "-q=15m"},
		{"optional, none", "-q 15m", "-q -- 15m"},
		{"optional in a cluster", "-tq15m", "-t -q=15m"},
		{"modes", "-bs", "-b s"},
		{"modes apart", "-b s", "-b s"},
		{"-bD", "-bD", "-b D"},
		{"debugging", "-d0.1 -d -d-1.9999999999", "-d=0.1 -d -d=-1.9999999999"},
		{"sendmail's -o", "-oem -oMrSMTP -oQ/var/spool/mqueue -oQueue=x -o7 -oee", ""},
		{"when to deliver", "-odq -o di -ODeliveryMode=queue -O deliverymode=b -odx -od -o d", "--delivery-mode=q --delivery-mode=i --delivery-mode=q --delivery-mode=b"},
		{"-oi", "-oi -o i", "-i -i"},
		{"our -o", "-orelay-host=h -o queue-dir=/q -oescape-from", "-o relay-host=h -o queue-dir=/q -o escape-from"},
		{"our -o misspelt", "-orelay-hots=h -o qretrun=3d -oescape-frm", "-o relay-hots=h -o qretrun=3d -o escape-frm"},
		{"sendmail's -O", "-OQueueDirectory=/x -O DeliveryMode= -O DeliveryMode=x -Ac -A m", ""},
		{"ignored values", "-B 8BITMIME -h 99999999999 -X /tmp/x -L tag -M x -p smtp:h -Q why", ""},
		{"ignored without", "-c -G -I -m -n -s -T -U -x -v -E -J", ""},
		{"ignored at the end", "-X", "!flag -X needs a value"},
		{"RFC 3461", "-N never -Rhdrs", "-N never -R hdrs"},
		{"the envelope id", "-V abc bob", "--envelope-id=abc -- bob"},
		{"the envelope id, glued", "-Vabc bob", "--envelope-id=abc -- bob"},
		{"the envelope id, with =", "-iV=abc bob", "-i --envelope-id==abc -- bob"},
		{"the version", "-V", "-V"},
		{"the version before flags", "-V -bp", "-V -b p"},
		{"unknown", "-Z", "!no flag -Z"},
		{"no letter", "-:", "!no flag -:"},
		{"operands end the flags", "bob -f x", "-- bob -f x"},
		{"a dash is an operand", "- -f x", "-- - -f x"},
		{"the end of flags", "-t -- -f x", "-t -- -f x"},
		{"long", "--sender=x --sender y -t", "--sender=x --sender y -t"},
		{"long at the end", "--sender", "--sender"},
		{"long switch", "--recipients -fx", "--recipients -f x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := normalise(strings.Fields(tt.in), classicFlags(), SendmailIgnored, true)
			text := strings.Join(got, " ")
			if err != nil {
				text = "!" + err.Error()
			}
			if text != tt.want {
				t.Errorf("%q: got %q, want %q", tt.in, text, tt.want)
			}
		})
	}
}

// TestIgnoredTable: each letter once, and none that every applet reads.
func TestIgnoredTable(t *testing.T) {
	seen := ""
	for _, c := range strings.Trim(SendmailIgnored, "") {
		if c == ':' || c == ';' {
			continue
		}
		if strings.ContainsRune(seen, c) {
			t.Errorf("-%c is there twice", c)
		}
		seen += string(c)
	}
	// sendmail 8.18, Postfix 3.7 and OpenSMTPD 6.8, without -C.
	for _, c := range "ABbcDdEeFfGhIiJLMmNnOopQqRrSsTtUVvXx" {
		if !strings.ContainsRune(seen, c) {
			t.Errorf("-%c is missing", c)
		}
	}
}

// FuzzNormalise: pflag reads what comes out, and no operand or value is lost,
// made up or out of order.
func FuzzNormalise(f *testing.F) {
	f.Add("-tifalice bob")
	f.Add("-oi -oqretrun=3d -q15m -d0.1 -bs -V x -- -y")
	f.Add("-odq -ODeliveryMode=q -odx -od= x")
	f.Add("-tV x -N never -Rfull -V")
	f.Add("--sender x -f -x - -")
	f.Fuzz(func(t *testing.T, in string) {
		argv := strings.Fields(in)
		flags := classicFlags()
		out, err := normalise(argv, flags, SendmailIgnored, true)
		if err != nil {
			if e := (*ExitError)(nil); !errors.As(err, &e) {
				t.Errorf("%q: %v is no usage error", in, err)
			}
			return
		}
		if err := flags.Parse(out); err != nil {
			for _, arg := range out { // what is left to pflag are long flags
				if strings.HasPrefix(arg, "--") && arg != "--" {
					return
				}
			}
			t.Fatalf("%q became %q: %v", in, out, err)
		}
		operands := flags.Args()
		if len(operands) > len(argv) || !slices.Equal(operands, argv[len(argv)-len(operands):]) {
			t.Errorf("%q: operands %q", in, operands)
		}
		for _, name := range []string{"sender", "name", "notify", "return-what", EnvelopeID, "mode", DeliveryMode} {
			if f := flags.Lookup(name); f.Changed && !strings.Contains(strings.ToLower(in), strings.ToLower(f.Value.String())) {
				t.Errorf("%q: %s is %q", in, name, f.Value)
			}
		}
	})
}

// TestModern: without Classic operands and flags mix, and nothing is ignored
// that isn't in the applet's table.
func TestModern(t *testing.T) {
	e := &Env{Program: "config"}
	e.Prepare(Applet{Name: "config"}, strings.Fields("one --json -C /dev/null two -oqreturn=2d"))
	asJSON := e.Flags.Bool("json", false, "")
	if err := e.Parse(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one", "two"}, e.Args); diff != "" || !*asJSON {
		t.Errorf("json %v, operands (-want +got):\n%s", *asJSON, diff)
	}
	if diff := cmp.Diff([]string{"-C", "/dev/null", "-o", "qreturn=2d"}, e.ConfigFlags()); diff != "" {
		t.Errorf("ConfigFlags (-want +got):\n%s", diff)
	}
}
