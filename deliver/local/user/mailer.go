package user

import (
	"fmt"
	"path/filepath"
	"strings"

	"postoffice/deliver/local"
	"postoffice/internal/account"
)

// CheckMailer says what is wrong with the command of option mailer.
func CheckMailer(template string) error {
	_, err := mailerCommand(template, mailerValues(account.Account{}, local.Envelope{}))
	return err
}

// mailerValues knows what a ${name} of option mailer stands for, and whether it
// comes from mail.
func mailerValues(a account.Account, e local.Envelope) func(name string) (text string, mail, ok bool) {
	return func(name string) (string, bool, bool) {
		switch name {
		case "user":
			return a.Name, false, true
		case "home":
			return a.Home, false, true
		case "sender":
			return e.Sender.String(), true, true
		case "recipient":
			return e.Recipient.String(), true, true
		case "extension":
			return e.Extension, true, true
		}
		return "", false, false
	}
}

// mailerCommand makes a command of option mailer: words between blanks, double
// quotes round what holds some, and ${name} for what is known of the message.
// Nothing that stands there for a ${name} makes a word of its own, an option
// or anything else than it is (A20).
func mailerCommand(template string, value func(name string) (text string, mail, ok bool)) (command, error) {
	words, err := templateWords("mailer", template)
	if err != nil {
		return command{}, err
	}
	for i, w := range words {
		if words[i], err = fillIn(w, value); err != nil {
			return command{}, err
		}
	}
	return command{path: words[0], args: words}, nil
}

// templateWords splits at blanks outside double quotes.
func templateWords(option, s string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, quoted := false, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			in, quoted = true, !quoted
		case (c == ' ' || c == '\t') && !quoted:
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		default:
			in = true
			word.WriteByte(c)
		}
	}
	if in {
		words = append(words, word.String())
	}
	switch {
	case quoted:
		return nil, fmt.Errorf("option %s: a quote that does not end", option)
	case len(words) == 0 || !filepath.IsAbs(words[0]):
		return nil, fmt.Errorf("option %s: want the absolute path of a program first", option)
	}
	return words, nil
}

// fillIn puts the values into one word. One that begins with what came from
// mail never begins with "-".
func fillIn(word string, value func(name string) (text string, mail, ok bool)) (string, error) {
	var b strings.Builder
	foreign := false // the first octets are mail's
	for {
		before, rest, found := strings.Cut(word, "${")
		b.WriteString(before)
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		text, mail, ok := value(name)
		if !closed || !ok {
			return "", fmt.Errorf("option mailer: ${%s: want ${user}, ${home}, ${sender}, ${recipient} or ${extension}", rest)
		}
		if mail {
			foreign = foreign || b.Len() == 0
			text = harmless(text)
		}
		b.WriteString(text)
		word = after
	}
	if foreign {
		return noOption(b.String()), nil
	}
	return b.String(), nil
}
