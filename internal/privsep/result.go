package privsep

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"postoffice/deliver/local"
)

// TokenResult is the result of a delivery known by its token.
type TokenResult struct {
	Token  string
	Result local.Result
}

// resultFrame encodes a result.
func resultFrame(t TokenResult) frame {
	r, text := t.Result, ""
	if r.Err != nil {
		text = r.Err.Error()
	}
	return frame{opResult, []string{
		t.Token, r.Status.String(), strconv.Itoa(r.Reply.Code), r.Reply.Status, clip(r.Reply.Text), clip(text),
	}}
}

// parseResult reads the fields of a result, which may come from a user's
// process: there is one word for each status, and the codes are codes.
func parseResult(f []string) (TokenResult, error) {
	t := TokenResult{Token: f[0]}
	var err error
	if t.Result.Status, err = parseStatus(f[1]); err != nil {
		return t, err
	}
	code, err := strconv.Atoi(f[2])
	if err != nil || code != 0 && (code < 200 || code > 599) {
		return t, fmt.Errorf("%w: result with the reply code %q", errFrame, f[2])
	}
	if strings.Trim(f[3], "0123456789.") != "" {
		return t, fmt.Errorf("%w: result with the status code %q", errFrame, f[3])
	}
	t.Result.Reply.Code, t.Result.Reply.Status, t.Result.Reply.Text = code, f[3], f[4]
	if f[5] != "" {
		t.Result.Err = errors.New(f[5])
	}
	return t, nil
}

func parseStatus(word string) (local.Status, error) {
	for _, s := range []local.Status{local.Deferred, local.Delivered, local.Refused, local.Forwarded, local.Changed} {
		if word == s.String() {
			return s, nil
		}
	}
	return 0, fmt.Errorf("%w: result %q", errFrame, word)
}
