package privsep

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"postoffice/deliver/local"
	"postoffice/deliver/outcome"
	"postoffice/internal/account"
)

// op says what a frame is about.
type op byte

// What the server tells the master. opRun and opList go on to a user's
// process, with a number in the place of the token, and so do opDeliver, opSmall and
// opForwards where it writes mailboxes.
const (
	opReady    op = 1 + iota // it answers
	opDone                   // the single pass is over; or another server is to come in this one's place
	opDeliver                // see mailboxFields; the pipe with the octets
	opSmall                  // the same, and all octets of a small message
	opRecorded               // token
	opLookup                 // serial, name
	opBroken                 // listener's name
	opRun                    // see runFields; the pipe with the octets
	opList                   // see listFields; the pipe for the lines
	opForwards               // serial, user, extension
	opKeepOut                // a client's address in addressSize octets, IPv4 within IPv6
	opPassword               // serial, host, user, "again" or nothing
	opAuth                   // it wants the process of virtual domains
	opHung                   // the signer answers nobody
	opShadow                 // it wants the process of the machine's accounts
)

// What the master tells the server. A user's process gets settings and an
// account, and gives results and opListed back.
const (
	opSettings    op = 64 + iota // the next piece of the settings
	opListener                   // name, service, network, address; the socket
	opSession                    // the socket
	opResult                     // token, status, reply code, reply status, reply text, error
	opStart                      // "pass", "stay" or "again", "attached" or "detached": everything was handed over
	opAccount                    // serial, outcome, name, uid, gid, home, shell, error
	opReload                     // the settings sent last are new ones
	opStop                       // end
	opListed                     // serial, outcome, file, owner's name, owner's uid or a line, error
	opForwarded                  // serial, outcome, error
	opAudit                      // auditing is turned on, or off
	opCertificate                // the next chain of certificates
	opSigner                     // these are in force from here on; the link of who has their keys
	opSecret                     // serial, outcome, password or why there is none
	opAuthLink                   // the link of the process of virtual domains
	opNoAuth                     // why there is none
	opShadowLink                 // the link of the process of the machine's accounts
	opNoShadow                   // why there is none
	opMoves                      // of a process that writes mailboxes: nothing, or which way hangs
)

// Limits of the fields, in octets.
const (
	maxToken   = 128              // of a word of ours
	maxName    = account.MaxName  // of an account
	maxNumber  = 20               // of a number
	maxPart    = 320              // of an address (RFC 5321 section 4.5.3.1 allows 256 for all of it)
	maxPath    = 4096             // of a file
	maxAddress = 512              // of an address in full
	maxWords   = 2048             // text for people: cut by the sender
	maxSmall   = 16 << 10         // a message that needs no pipe
	maxPiece   = 32 << 10         // of what goes in several frames
	maxFrame   = 1 + 2 + maxPiece // the largest frame: opSettings

	maxSecret   = 4 << 10 // of a password or a token
	addressSize = 16      // of opKeepOut's field, exactly
)

// The fields that several frames have in common.

// mailboxFields: token, user, "final" or nothing, extension, folder, how many
// octets the message has at most or nothing, how many the mailbox may have or
// nothing; behind them, with opSmall alone, the message.
var mailboxFields = [...]int{maxToken, maxName, maxNumber, maxPart, maxPath, maxNumber, maxNumber, maxSmall}

// listFields: serial, user, source, name, hash, extension.
var listFields = [...]int{maxNumber, maxName, maxNumber, maxPart, sha256.Size, maxPart}

// runFields: token, user, source, name, hash, "final" or nothing, local part and domain of sender
// and recipient, extension, queue ID.
var runFields = [...]int{maxToken, maxName, maxNumber, maxPart, sha256.Size, maxNumber, maxPart, maxPart, maxPart, maxPart, maxPart, maxToken}

// shape is what a frame must look like.
type shape struct {
	name   string
	fields []int // the most octets of each
	files  int   // descriptors that come with it
}

// side is a set of frames: those that one end may receive.
type side map[op]shape

// These are made for each link, not at start-up.

func toMaster() side {
	return side{
		opReady:    {"ready", nil, 0},
		opDone:     {"done", nil, 0},
		opDeliver:  deliverShape(),
		opSmall:    smallShape(),
		opRecorded: {"recorded", []int{maxToken}, 0},
		opLookup:   {"lookup", []int{maxNumber, maxName}, 0},
		opBroken:   {"broken listener", []int{maxAddress}, 0},
		opRun:      runShape(),
		opList:     listShape(),
		opForwards: forwardsShape(),
		opKeepOut:  {"keep out", []int{addressSize}, 0},
		opPassword: {"password", []int{maxNumber, maxPart, maxPart, maxNumber}, 0},
		opAuth:     {"auth", nil, 0},
		opHung:     {"hung signer", nil, 0},
		opShadow:   {"shadow", nil, 0},
	}
}

func toServer() side {
	return side{
		opSettings:  settingsShape(),
		opListener:  {"listener", []int{maxAddress, maxNumber, maxNumber, maxAddress}, 1},
		opSession:   {"session", nil, 1},
		opResult:    resultShape(),
		opStart:     {"start", []int{maxNumber, maxNumber}, 0},
		opAccount:   accountShape(),
		opReload:    {"reload", nil, 0},
		opStop:      {"stop", nil, 0},
		opListed:    listedShape(),
		opForwarded: forwardedShape(),
		opAudit:     {"audit", nil, 0},

		opCertificate: {"certificate", []int{maxPiece}, 0},
		opSigner:      {"signer", nil, 1},
		opSecret:      {"secret", []int{maxNumber, maxNumber, maxSecret}, 0},
		opAuthLink:    {"auth link", nil, 2},
		opNoAuth:      {"no auth", []int{maxWords}, 0},
		opShadowLink:  {"shadow link", nil, 1},
		opNoShadow:    {"no shadow", []int{maxWords}, 0},
	}
}

// toUser is what a user's process may be told, fromUser what it may say.

func toUser() side {
	return side{
		opSettings: settingsShape(), opAccount: accountShape(), opRun: runShape(), opList: listShape(),
		opDeliver: deliverShape(), opSmall: smallShape(), opForwards: forwardsShape(),
	}
}

func fromUser() side {
	return side{opResult: resultShape(), opListed: listedShape(), opForwarded: forwardedShape(), opMoves: {"moves", []int{1}, 0}}
}

// answerTo is what a user's process says to a request.
func answerTo(asked op) op {
	switch asked {
	case opList:
		return opListed
	case opForwards:
		return opForwarded
	}
	return opResult
}

// checkAnswer says why an answer is none that a user's process of ours gives.
func checkAnswer(f frame) error {
	switch f.op {
	case opResult:
		_, err := parseResult(f.fields)
		return err
	case opMoves:
		if s := f.fields[0]; s != "" && s != "0" && s != "1" {
			return fmt.Errorf("%w: way %q", errFrame, s)
		}
	case opForwarded:
		if _, err := parseForwarded(f.fields); errors.Is(err, errFrame) {
			return err
		}
	case opListed:
		if err := parseListed(f); errors.Is(err, errFrame) {
			return err
		}
	}
	return nil
}

func settingsShape() shape { return shape{"settings", []int{maxPiece}, 0} }
func runShape() shape      { return shape{"run", runFields[:], 1} }
func listShape() shape     { return shape{"list", listFields[:], 1} }

func deliverShape() shape { return shape{"deliver", mailboxFields[:len(mailboxFields)-1], 1} }
func smallShape() shape   { return shape{"deliver", mailboxFields[:], 0} }

func forwardsShape() shape  { return shape{"forwards", []int{maxNumber, maxName, maxPart}, 0} }
func forwardedShape() shape { return shape{"forwarded", []int{maxNumber, maxNumber, maxWords}, 0} }

func resultShape() shape {
	return shape{"result", []int{maxToken, maxNumber, maxNumber, maxNumber, maxWords, maxWords}, 0}
}

func accountShape() shape {
	return shape{"account", []int{maxNumber, maxNumber, maxName, maxNumber, maxNumber, maxPath, maxPath, maxWords}, 0}
}

func listedShape() shape {
	return shape{"listed", []int{maxNumber, maxNumber, maxPath, maxName, maxNumber, maxWords}, 0}
}

// resultFrame encodes a result.
func resultFrame(t local.TokenResult) frame {
	r, text := t.Result, ""
	if r.Err != nil {
		text = r.Err.Error()
	}
	return frame{opResult, []string{
		t.Token, r.String(), strconv.Itoa(r.Reply.Code), r.Reply.Status, clip(r.Reply.Text), clip(text),
	}}
}

// forwardedFrame says whether there is a .forward, or why that isn't known.
func forwardedFrame(serial string, yes bool, err error) frame {
	f := frame{opForwarded, []string{serial, forwardsNo, ""}}
	switch {
	case err != nil:
		f.fields[1], f.fields[2] = forwardsLater, clip(err.Error())
	case yes:
		f.fields[1] = forwardsYes
	}
	return f
}

// parseResult reads the fields of a result, which may come from a user's
// process: there is one word for each result, and the codes are codes.
func parseResult(f []string) (local.TokenResult, error) {
	t := local.TokenResult{Token: f[0]}
	var err error
	if t.Result, err = parseWord(f[1]); err != nil {
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
	if f[5] != "" && t.Result.Action != outcome.Delivered {
		t.Result.Err = errors.New(f[5])
	}
	return t, nil
}

// parseWord returns a result that Result.String gives this word.
func parseWord(word string) (local.Result, error) {
	for _, r := range []local.Result{
		{}, {Outcome: outcome.Outcome{Action: outcome.Delivered}}, {Outcome: outcome.Outcome{Action: outcome.Bounced}},
		{Answer: local.Forwarded}, {Answer: local.Changed},
	} {
		if word == r.String() {
			return r, nil
		}
	}
	return local.Result{}, fmt.Errorf("%w: result %q", errFrame, word)
}

// parseDelivery reads mailboxFields, but for the message.
func parseDelivery(f []string) (d local.Delivery, err error) {
	if err := checkFinal(f[2]); err != nil {
		return d, err
	}
	size, err := parseSize(f[5])
	if err != nil {
		return d, err
	}
	quota, err := parseSize(f[6])
	if err != nil {
		return d, err
	}
	return local.Delivery{User: f[1], Size: size, Quota: max(quota, 0), Final: f[2] == final, Extension: f[3], Folder: f[4]}, nil
}
