package milter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"postoffice/internal/message"
	"postoffice/internal/smtp"
)

// Bounds of an edit, in octets.
const (
	maxName   = 100      // of a field's name: no field of a mail has half of it
	maxValue  = 64 << 10 // of its value: many times what any field of a mail has
	maxReason = 500      // of why a message is kept back: it is shown as one line
	maxIndex  = 1 << 30  // of a field
)

// needs are the actions of which one must have been agreed on for an edit.
func needs(code byte) uint32 {
	switch code {
	case 'h', 'i':
		return mayAddHeaders
	case 'm':
		return mayChangeHeaders
	case '+':
		return mayAddRcpt
	case '2':
		return mayAddRcptParams
	case '-':
		return mayDeleteRcpt
	case 'e':
		return mayChangeFrom
	case 'b':
		return mayReplaceBody
	case 'q':
		return mayQuarantine
	}
	return 0
}

// readEdit reads the data of an edit's packet. An error says why that one can't be
// made.
func readEdit(t Terms, code byte, data []byte) (Edit, error) {
	if t.Actions&needs(code) == 0 {
		return Edit{}, errors.New("the filter didn't say at the start that it would")
	}
	switch code {
	case 'h':
		return readField(t, Edit{Kind: AddHeader}, data)
	case 'i', 'm':
		return readIndexed(t, code, data)
	case '+', '-':
		return readRcpt(code, data)
	case '2':
		return readWithParams(Edit{Kind: AddRcpt}, data)
	case 'e':
		return readWithParams(Edit{Kind: ChangeFrom}, data)
	}
	reason := parts(data)
	if len(reason) != 1 {
		return Edit{}, errors.New("its reason has a NUL in it")
	}
	return Edit{Kind: Quarantine, Value: smtp.Printable(reason[0], maxReason)}, nil
}

// readIndexed reads an edit of a header field that has a number in front.
func readIndexed(t Terms, code byte, data []byte) (Edit, error) {
	if len(data) < 4 {
		return Edit{}, errors.New("its number is cut off")
	}
	index := binary.BigEndian.Uint32(data)
	if index > maxIndex {
		return Edit{}, fmt.Errorf("its number is %d, which no header has", int32(index))
	}
	if code == 'i' {
		return readField(t, Edit{Kind: InsertHeader, Index: int(index)}, data[4:])
	}
	return readField(t, Edit{Kind: ChangeHeader, Index: max(int(index), 1)}, data[4:]) // 0 is 1 to sendmail
}

// readField reads name and value of a header field into an edit.
func readField(t Terms, e Edit, data []byte) (Edit, error) {
	field := parts(data)
	if len(field) != 2 {
		return Edit{}, fmt.Errorf("it has %d strings, want a name and a value", len(field))
	}
	e.Name, e.Value = field[0], field[1]
	if len(e.Name) > maxName {
		return e, fmt.Errorf("the field's name has %d octets, which is over %d", len(e.Name), maxName)
	}
	if err := message.CheckName(e.Name); err != nil {
		return Edit{}, err
	}
	if e.Kind == ChangeHeader && e.Value == "" {
		e.Kind = DeleteHeader
		return e, nil
	}
	e.Value = strings.ReplaceAll(e.Value, "\r\n", "\n")
	if t.Protocol&leadingBlank == 0 {
		e.Value = " " + e.Value
	}
	if len(e.Value) > maxValue {
		return e, fmt.Errorf("the field's value has %d octets, which is over %d", len(e.Value), maxValue)
	}
	return e, message.CheckValue(e.Value)
}

// readRcpt reads a recipient that is to be added or deleted.
func readRcpt(code byte, data []byte) (Edit, error) {
	address := parts(data)
	if len(address) != 1 {
		return Edit{}, errors.New("the address has a NUL in it")
	}
	path, err := readPath(address[0], false)
	if code == '-' {
		return Edit{Kind: DeleteRcpt, Path: path}, err
	}
	return Edit{Kind: AddRcpt, Path: path}, err
}

// readWithParams reads an address and the parameters behind it, one string of them
// with blanks between, into an edit.
func readWithParams(e Edit, data []byte) (Edit, error) {
	strs := parts(data)
	if len(strs) > 2 {
		return Edit{}, fmt.Errorf("it has %d strings, want an address and its parameters", len(strs))
	}
	var err error
	if e.Path, err = readPath(strs[0], e.Kind == ChangeFrom); err != nil || len(strs) == 1 {
		return e, err
	}
	if e.Params, err = smtp.ParseParams(strs[1]); err != nil {
		return e, fmt.Errorf("the parameters %q: %w", smtp.Printable(strs[1], maxShown), err)
	}
	for _, p := range e.Params {
		switch p.Name {
		case "RET", "ENVID", "NOTIFY", "ORCPT":
			if err := smtp.CheckDSN(p); err != nil {
				return e, fmt.Errorf("the parameter %s: %w", p.Name, err)
			}
		}
	}
	return e, nil
}

// readPath reads an address with or without brackets.
func readPath(text string, null bool) (smtp.Path, error) {
	parse := smtp.ParseBarePath
	if strings.HasPrefix(text, "<") {
		parse = smtp.ParsePath
	}
	path, rest, err := parse(text)
	switch {
	case err != nil:
		return path, fmt.Errorf("the address %q: %w", smtp.Printable(text, maxShown), err)
	case strings.Trim(rest, " ") != "":
		return path, fmt.Errorf("the address %q has more behind it", smtp.Printable(text, maxShown))
	case path.IsNull() && !null:
		return path, errors.New("the null path is no recipient")
	}
	return path, nil
}
