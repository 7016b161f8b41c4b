//go:build !lite

package virtual

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/sysexits"
	"postoffice/internal/hashes"
	"postoffice/internal/idn"
	"postoffice/internal/sasl"
	"postoffice/internal/smtp"
	"postoffice/vhost"
)

// Passwords is vpasswd.
var Passwords = cmdline.Applet{
	Name:  "vpasswd",
	Usage: "add|set|del|enable|disable|quota|list|check [size] [user@domain|domain ...]",
	Short: "look after the users of virtual domains and their passwords",
	Run: func(_ context.Context, env *cmdline.Env) error {
		if err := env.Parse(); err != nil {
			return err
		}
		conf, err := configOf(env)
		if err != nil {
			return err
		}
		v := vpasswd{env: env, conf: conf}
		if len(env.Args) > 2 && (env.Args[0] == "add" || env.Args[0] == "set") {
			return cmdline.Usagef("%s takes one user, for one password", env.Args[0])
		}
		if len(env.Args) > 0 && env.Args[0] == "quota" {
			if v.size, err = takeSize(env); err != nil {
				return err
			}
		}
		return run(env, &v, []verb[*vpasswd]{
			{"add", func(v *vpasswd, a string) error { return v.secret(a, vhost.AddUser) }, false},
			{"set", func(v *vpasswd, a string) error { return v.secret(a, vhost.SetPassword) }, false},
			{"del", func(v *vpasswd, a string) error { return v.user(a, vhost.DeleteUser) }, false},
			{"enable", func(v *vpasswd, a string) error { return v.close(a, false) }, false},
			{"disable", func(v *vpasswd, a string) error { return v.close(a, true) }, false},
			{"quota", func(v *vpasswd, a string) error { return v.user(a, v.quota) }, false},
			{"list", (*vpasswd).list, false},
			{"check", (*vpasswd).check, false},
		}, "user@domain")
	},
}

// vpasswd is one call.
type vpasswd struct {
	env  *cmdline.Env
	conf *config.Config
	size string // of quota; "" takes a user's own out
}

// takeSize takes the size out of the arguments of quota.
func takeSize(env *cmdline.Env) (size string, err error) {
	if len(env.Args) < 3 {
		return "", cmdline.Usagef("quota needs a size, or none for what the option vhost-quota says, and a user@domain")
	}
	if size = env.Args[1]; size == "none" {
		size = ""
	} else if size, err = vhost.QuotaSize(size); err != nil {
		return "", cmdline.ExitWith(sysexits.Usage, err)
	}
	env.Args = append([]string{env.Args[0]}, env.Args[2:]...)
	return size, nil
}

// userOf parts the address of a user of a virtual domain.
func userOf(address string) (name, domain string, err error) {
	name, domain, ok := strings.Cut(address, "@")
	if !ok {
		return "", "", cmdline.Usagef("want user@domain, got %.100q", address)
	}
	name = idn.AsLogin(name)
	err = vhost.CheckName(name)
	if err == nil {
		err = checkLogin(name)
	}
	if err != nil {
		return "", "", cmdline.ExitWith(sysexits.DataErr, fmt.Errorf("%.100q can't be a user: %w", address, err))
	}
	key, err := vhost.Key(domain)
	if err == nil {
		err = vhost.CheckAddress(name, key)
	}
	if err != nil {
		return "", "", cmdline.ExitWith(sysexits.DataErr, err)
	}
	return name, domain, nil
}

// checkLogin says why nobody can log in by a name of a passwd file, nil if somebody can.
func checkLogin(name string) error {
	switch as := idn.AsLogin(name); {
	case !smtp.Shown(name):
		return errors.New("its name has octets that are not UTF-8, or characters that show nothing: nobody can log in by it or write to it")
	case as != name:
		return fmt.Errorf("nobody can log in by that way to write its name: write %s", as)
	}
	return nil
}

// shown is the name of a user for a terminal.
func shown(name string) string {
	if smtp.Shown(name) {
		return name
	}
	return smtp.Printable(name, 255)
}

// user changes a user's line in the passwd file of their domain.
func (v *vpasswd) user(address string, change func(path, name string) error) error {
	name, domain, err := userOf(address)
	if err != nil {
		return err
	}
	err = AsOwner(v.conf, domain, func(dir string) error { return change(filepath.Join(dir, vhost.PasswdFile), name) })
	switch {
	case errors.Is(err, vhost.ErrExists):
		return cmdline.ExitWith(sysexits.DataErr, fmt.Errorf("%s is a user already", address), "postoffice vpasswd set "+address+" gives another password")
	case errors.Is(err, vhost.ErrMissing):
		return cmdline.ExitWith(sysexits.NoUser, fmt.Errorf("%s is no user", address), "postoffice vpasswd add "+address+" makes one, postoffice vpasswd list "+domain+" shows who there is")
	}
	return err
}

// secret asks for a password and gives it to a user.
func (v *vpasswd) secret(address string, change func(path, name string, s vhost.Secret) error) error {
	if _, domain, err := userOf(address); err != nil {
		return err
	} else if _, _, err := Find(v.conf, domain); err != nil {
		return err
	}
	password, err := askPassword(v.env, address)
	if err != nil {
		return err
	}
	hash, err := hashes.New(password)
	if err != nil {
		return err
	}
	verifier, err := sasl.NewVerifier(password)
	if err != nil {
		return cmdline.ExitWith(sysexits.DataErr, fmt.Errorf("the password can't be used with SCRAM: %w", err), "choose one of letters, digits and signs")
	}
	return v.user(address, func(path, name string) error {
		return change(path, name, vhost.Secret{Hash: hash, Verifier: verifier.String()})
	})
}

func (v *vpasswd) quota(path, name string) error { return vhost.SetQuota(path, name, v.size) }

func (v *vpasswd) close(address string, closed bool) error {
	return v.user(address, func(path, name string) error { return vhost.CloseUser(path, name, closed) })
}

// askPassword reads a password: twice from a terminal, which doesn't show it, else one
// line of standard input.
func askPassword(env *cmdline.Env, address string) (string, error) {
	var password string
	if f, ok := env.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		var twice [2]string
		for i, prompt := range []string{"Password for " + address + ": ", "Again: "} {
			fmt.Fprint(env.Stderr, prompt)
			b, err := term.ReadPassword(int(f.Fd()))
			fmt.Fprintln(env.Stderr)
			if err != nil {
				return "", cmdline.ExitWith(sysexits.NoInput, fmt.Errorf("read the password: %w", err))
			}
			twice[i] = string(b)
		}
		if twice[0] != twice[1] {
			return "", cmdline.ExitWith(sysexits.DataErr, errors.New("the two passwords differ, and nothing was changed"), "try again")
		}
		password = twice[0]
	} else {
		line, err := bufio.NewReader(io.LimitReader(env.Stdin, sasl.MaxPassword+2)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", cmdline.ExitWith(sysexits.NoInput, fmt.Errorf("read the password: %w", err))
		}
		password = strings.TrimRight(line, "\r\n")
	}
	switch {
	case password == "":
		return "", cmdline.ExitWith(sysexits.DataErr, errors.New("no password was given, and nothing was changed"), "it is one line of standard input, or typed twice at a terminal")
	case len(password) > sasl.MaxPassword:
		return "", cmdline.ExitWith(sysexits.DataErr, fmt.Errorf("the password has more than %d octets, and nothing was changed", sasl.MaxPassword), "choose a shorter one")
	case !utf8.ValidString(password) || strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", cmdline.ExitWith(sysexits.DataErr, errors.New("the password has control characters or is not UTF-8, and nothing was changed"), "choose one that every program can send")
	}
	return password, nil
}

// each calls do with the lines of a domain's passwd file, or with those of a user alone.
func (v *vpasswd) each(operand string, do func(path string, n int, u vhost.User, err error)) error {
	name, domain, one := strings.Cut(operand, "@")
	if !one {
		domain = operand
	}
	var path string
	var text []byte
	err := AsOwner(v.conf, domain, func(dir string) (err error) {
		path = filepath.Join(dir, vhost.PasswdFile)
		text, err = readWhole(path)
		return err
	})
	if err != nil {
		return err
	}
	found := !one
	vhost.EachUser(text, func(n int, u vhost.User, err error) {
		if !one || smtp.EqualFold(u.Name, name) {
			found = true
			do(path, n, u, err)
		}
	})
	if !found {
		return cmdline.ExitWith(sysexits.NoUser, fmt.Errorf("%s is no user", operand))
	}
	return nil
}

// list prints the users of a domain and whether they may log in.
func (v *vpasswd) list(operand string) error {
	bad := false
	err := v.each(operand, func(path string, n int, u vhost.User, err error) {
		if err != nil {
			bad = true
			v.env.Say(fmt.Sprintf("%s:%d: %v", path, n, err))
			return
		}
		state := "active"
		if _, closed := u.Secret(); closed {
			state = "disabled"
		}
		fmt.Fprintf(v.env.Stdout, "%s\t%s\n", shown(u.Name), state)
	})
	if err == nil && bad {
		err = cmdline.ExitWith(sysexits.DataErr, cmdline.ErrAnswered)
	}
	return err
}

// check says what is wrong with the lines of a domain, or of one user, and how many can't
// log in by SCRAM.
func (v *vpasswd) check(operand string) error {
	users, open, scram, findings := 0, 0, 0, 0
	find := func(path string, n int, format string, args ...any) {
		findings++
		fmt.Fprintf(v.env.Stdout, "%s:%d: %s\n", path, n, fmt.Sprintf(format, args...))
	}
	err := v.each(operand, func(path string, n int, u vhost.User, err error) {
		if err != nil {
			find(path, n, "%v", err)
			return
		}
		users++
		if err := checkLogin(u.Name); err != nil {
			find(path, n, "%s: %v", shown(u.Name), err)
		}
		if _, err := u.Quota(); err != nil {
			find(path, n, "%s: %v", shown(u.Name), err)
		}
		s, closed := u.Secret()
		_, hashErr := hashes.Parse(s.Hash)
		switch {
		case errors.Is(hashErr, hashes.ErrClosed), closed:
			return
		case hashErr != nil:
			find(path, n, "%s: %v", shown(u.Name), hashErr)
		}
		open++
		if s.Verifier == "" {
			return
		}
		if _, err := sasl.ParseVerifier(s.Verifier); err != nil {
			find(path, n, "%s: %v", shown(u.Name), err)
			return
		}
		scram++
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(v.env.Stdout, "%s: users %d, who may log in %d, of them not by SCRAM %d\n", operand, users, open, open-scram)
	if findings > 0 {
		return cmdline.ExitWith(sysexits.DataErr, cmdline.ErrAnswered)
	}
	return nil
}
