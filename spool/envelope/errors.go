package envelope

import (
	"errors"
	"fmt"
	"strings"

	"postoffice/internal/smtp"
)

// What a caller may branch on, with errors.Is.
var (
	ErrInvalid = errors.New("not a valid envelope")    // the caller's mistake: it can't be written
	ErrDamaged = errors.New("message file is damaged") // no error of the reader's: what it reads was never written so
)

// damaged is why a file can't be a message file. It never comes from the disk:
// a read error is no damage (A32).
type damaged struct{ reason string }

func (d *damaged) Error() string { return d.reason }

func (d *damaged) Is(target error) bool { return target == ErrDamaged }

func damage(format string, args ...any) error {
	return &damaged{fmt.Sprintf(format, args...)}
}

// CheckRecipient says why no message can be for p, with ErrInvalid: it names no
// mailbox, above all where it could be taken for a program, a file or a list
// (A18).
func CheckRecipient(p smtp.Path) error {
	l := p.Local
	if l == "" || l[0] == '|' || strings.HasPrefix(smtp.Fold(l), ":include:") || l[0] == '/' && p.Domain == "" {
		return fmt.Errorf("%w: recipient %q", ErrInvalid, p.String())
	}
	return nil
}

// Fits says why no message can have such a recipient, or such a sender, with ErrInvalid.
func Fits(p smtp.Path, params []smtp.Param, sender bool) error {
	if !sender {
		_, err := appendTargets(nil, func(yield func(Target) bool) { yield(Target{Path: p, Params: params}) })
		return err
	}
	if n := len(AppendParams(AppendPath(nil, p), params)); n > maxLine/2 { // other lines count for it
		return fmt.Errorf("%w: sender's line of %d octets", ErrInvalid, n)
	}
	return validParams(params)
}

// validTarget is what both the writer and the reader ask of a recipient.
func validTarget(t Target) error {
	if int(t.Kind) >= len(keywords) || (t.Kind == Program) != (t.Agent != nil) {
		return fmt.Errorf("%w: recipient of kind %d", ErrInvalid, t.Kind)
	}
	if t.Kind == Program {
		if a := t.Agent; !a.Source.agents() || a.Name == "" || !t.Path.IsNull() {
			return fmt.Errorf("%w: program of %q %q", ErrInvalid, a.Source, a.Name)
		}
		return validParams(t.Params)
	}
	if err := CheckRecipient(t.Path); err != nil {
		return err
	}
	return validParams(t.Params)
}

// agents says whether an Agent may stand in s.
func (s AgentSource) agents() bool {
	return s == FromAlias || s == FromForward || s == FromUsermap
}

func validParams(params []smtp.Param) error {
	for _, p := range params {
		if !keyword(p.Name) {
			return fmt.Errorf("%w: parameter %q", ErrInvalid, p.Name)
		}
	}
	return nil
}
