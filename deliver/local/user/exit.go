package user

import (
	"errors"
	"fmt"
	"strings"

	"postoffice/deliver/outcome"
	"postoffice/internal/smtp"
)

// exits says what the exit codes of programs mean, sysexits(3) and sh(1). A
// code that isn't here is a refusal.
var exits = []struct {
	code   int
	later  bool
	status string
	words  string
}{
	{64, false, "5.5.4", "it was called in a way that it does not know"},
	{65, false, "5.6.0", "the message is not what it takes"},
	{66, false, "5.3.0", "its input is missing"},
	{67, false, "5.1.1", "no such user"},
	{68, false, "5.1.2", "no such host"},
	{69, false, "5.3.0", "something that it needs is not available"},
	{70, false, "5.3.0", "it has an error"},
	{71, true, "4.3.0", "the system did not let it work"},
	{72, false, "5.3.0", "a file of the system is missing"},
	{73, false, "5.2.0", "it can't make its file"},
	{74, true, "4.3.0", "reading or writing failed"},
	{75, true, "4.3.0", "to be tried again"},
	{76, false, "5.5.0", "what it talks to does not keep to the protocol"},
	{77, false, "5.7.0", "permission denied"},
	{78, false, "5.3.5", "its configuration is wrong"},
	{126, true, "4.3.5", "the command can't be executed"},
	{127, true, "4.3.5", "there is no such command"},
}

// exited is the result of a program that ended by itself with this code.
func exited(code int, printed []byte) outcome.Outcome {
	if code == 0 {
		return outcome.Success("taken by a program")
	}
	err := fmt.Errorf("program ended with exit code %d", code)
	if code > 128 && code <= 128+64 { // how a shell says it of its last command (B44)
		err = fmt.Errorf("program was ended by signal %d", code-128)
		return outcome.Deferral("4.3.0", reason(err.Error(), printed), err)
	}
	for _, e := range exits {
		if e.code != code {
			continue
		}
		text := reason(fmt.Sprintf("%v: %s", err, e.words), printed)
		if e.later {
			return outcome.Deferral(e.status, text, err)
		}
		return outcome.Refusal(e.status, text, err)
	}
	return outcome.Refusal("5.3.0", reason(err.Error(), printed), err)
}

var errTime = errors.New("program took too long and was ended")

const (
	maxReasonLines = 10  // of what a program printed, in a reply
	maxReasonLine  = 500 // octets
)

// reason is the text of a reply: what happened, and the first lines of what
// the program printed.
func reason(what string, printed []byte) string {
	lines := []string{what}
	for line := range strings.Lines(string(printed)) {
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" {
			continue
		}
		lines = append(lines, smtp.Masked(strings.ReplaceAll(line[:min(len(line), maxReasonLine)], "\t", " "), '?', smtp.IsPrintable))
		if len(lines) > maxReasonLines {
			break
		}
	}
	return strings.Join(lines, "\n")
}
