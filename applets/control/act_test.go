package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCat: every octet arrives as it is, however long the message is.
func TestCat(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, want := range [][]byte{nil, []byte("x\n"), bytes.Repeat(every, maxPiece/256), bytes.Repeat(every, 5*maxPiece/256+1)} {
		path := start(t, Handler{Cat: func(_ context.Context, p Peer, id string) (io.ReadCloser, error) {
			if p.UID != os.Getuid() || id != "A1" {
				t.Errorf("peer %+v asks for %q", p, id)
			}
			return io.NopCloser(bytes.NewReader(want)), nil
		}})
		var got bytes.Buffer
		if err := dial(t, path).Cat(t.Context(), "A1", &got); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d octets, %v, want %d", got.Len(), err, len(want))
		}
	}
}

// TestCatFails: an error in the middle of the octets is not taken for their end.
func TestCatFails(t *testing.T) {
	path := start(t, Handler{Cat: func(context.Context, Peer, string) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("x"), failing{})), nil
	}})
	var got bytes.Buffer
	err := dial(t, path).Cat(t.Context(), "A1", &got)
	if e := (*Error)(nil); !errors.As(err, &e) || e.Code != codeTempFail {
		t.Errorf("%v after %q, want code 75", err, got.String())
	}
	for range dial(t, path).List(t.Context()) { // no handler: an error, and it ends
		continue
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

// TestAct: the handler gets the request as it is, and its error comes back.
func TestAct(t *testing.T) {
	refusal := &Error{Code: 77, Text: "not you"}
	var got []Request
	path := start(t, Handler{Act: func(_ context.Context, _ Peer, r Request) error {
		got = append(got, r)
		if r.Do == Remove {
			return refusal
		}
		return nil
	}})
	want := []Request{{Do: Hold, ID: "A1", Reason: "odd \"thing\"\n"}, {Do: Release, ID: "A1"}, {Do: Retry, ID: "A1"}, {Do: Bounce, ID: "A1"}, {Do: Remove, ID: "A1"}}
	for _, r := range want {
		err := dial(t, path).Act(t.Context(), r)
		if r.Do != Remove && err != nil {
			t.Errorf("%s: %v", r.Do, err)
		}
		if e := (*Error)(nil); r.Do == Remove && (!errors.As(err, &e) || *e != *refusal) {
			t.Errorf("%s: %v, want %v", r.Do, err, refusal)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if err := dial(t, path).Act(t.Context(), Request{Do: "rename", ID: "A1"}); err == nil {
		t.Error("a verb that is not there was taken")
	}
}
