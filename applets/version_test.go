package applets

import (
	"os"
	"strings"
	"testing"
)

// "sendmail -d0 | head -1" ends well and in silence: the reader has what he
// wants (R63).
func TestR63ReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	var said strings.Builder
	if code := run(t.Context(), &Env{Stdin: strings.NewReader(""), Stdout: w, Stderr: &said}, []string{"sendmail", "-d0.1", "-bt"}); code != 0 || said.Len() > 0 {
		t.Errorf("exit %d, said %q", code, said.String())
	}
}
