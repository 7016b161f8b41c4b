package deliver

import (
	"io"
	"slices"
	"testing"

	"postoffice/internal/smtp"
	"postoffice/internal/testenv"
	"postoffice/spool/envelope"
)

// TestDSNGoesOn: the parameters of RFC 3461 are in the queue with the message, and told
// to a next server that offers DSN, each recipient's with its own; another one hears
// nothing of them.
func TestDSNGoesOn(t *testing.T) {
	r := newRig(t)
	far, old := r.peer("192.0.2.1", &testenv.Sink{Extensions: []string{"DSN"}}), r.peer("192.0.2.2", &testenv.Sink{Extensions: []string{"X"}})
	never, orig := smtp.Param{Name: "NOTIFY", Value: "NEVER"}, smtp.Param{Name: "ORCPT", Value: "rfc822;b@x.example"}
	env := envelope.Envelope{Arrived: r.now(), Client: "client", ReversePath: path(t, "alice"),
		Params: []smtp.Param{{Name: "RET", Value: "HDRS"}, {Name: "ENVID", Value: "e+2B1"}},
		Recipients: []smtp.Recipient{
			{Path: path(t, "a@[192.0.2.1]"), Params: []smtp.Param{never}}, {Path: path(t, "b@[192.0.2.1]"), Params: []smtp.Param{orig}},
			{Path: path(t, "c@[192.0.2.1]")}, {Path: path(t, "d@[192.0.2.2]"), Params: []smtp.Param{never}},
		}}
	in, err := r.queue.Create(env)
	if err == nil {
		_, err = io.WriteString(in, plain)
	}
	if err == nil {
		err = in.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	r.pass() // reads the queue from the disk, as after a restart
	r.want()
	for _, tt := range []struct {
		sink *testenv.Sink
		mail string
		rcpt []string
	}{
		{far, "MAIL FROM:<alice@us.example> RET=HDRS ENVID=e+2B1", []string{"RCPT TO:<a@[192.0.2.1]> NOTIFY=NEVER", "RCPT TO:<b@[192.0.2.1]> ORCPT=rfc822;b@x.example", "RCPT TO:<c@[192.0.2.1]>"}},
		{old, "MAIL FROM:<alice@us.example>", []string{"RCPT TO:<d@[192.0.2.2]>"}},
	} {
		if got := tt.sink.Messages(); len(got) != 1 || got[0].Mail != tt.mail || !slices.Equal(got[0].Rcpt, tt.rcpt) {
			t.Errorf("%+v, want %q, %q", got, tt.mail, tt.rcpt)
		}
	}
}
