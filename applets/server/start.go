package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"postoffice/applets/cmdline"
	"postoffice/applets/config"
	"postoffice/applets/privsep"
	"postoffice/applets/privsep/signer"
	"postoffice/applets/service"
	"postoffice/applets/sysexits"
	"postoffice/internal/disk"
	"postoffice/spool"
	"postoffice/spool/maildrop"
)

// StartError returns what a program ends with when the server that it started
// could not begin: the server has said why on standard error, if it could.
func StartError(err error) error {
	if e := (*service.ExitError)(nil); errors.As(err, &e) && e.Code > 0 {
		return cmdline.ExitWith(e.Code, cmdline.ErrAnswered)
	}
	return cmdline.ExitWith(sysexits.TempFail, fmt.Errorf("start a server: %w", err))
}

// MayServe reports whether the caller may run a server on the queue: root, and
// the user whose it is or would be if it were made. Root of a user namespace
// that the queue's owner isn't in has no right to it.
func MayServe(conf *config.Config) bool {
	for dir := conf.QueueDir; ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if errors.Is(err, os.ErrNotExist) && dir != "/" {
			continue
		}
		if err != nil {
			return os.Getuid() == 0
		}
		uid := int(st.Sys().(*syscall.Stat_t).Uid)
		return !config.Outsider(uid) && (os.Getuid() == 0 || os.Getuid() == uid)
	}
}

// StartOptions are how a server is wanted.
type StartOptions struct {
	Foreground bool // in this process, with its log on standard error too
	Deaf       bool // it listens on no port, only for programs of this machine
}

// Start is the mail server: in the foreground, or in the background, and then
// it returns when the ports are bound and the server answers. The error is
// ready for the program to end with.
func Start(ctx context.Context, env *cmdline.Env, o StartOptions) error {
	if o.Foreground && service.First() {
		service.TakeName()
		return belowError(service.Below(os.Args))
	}
	inherited, err := service.Inherited()
	if err != nil {
		return err
	}
	conf, err := env.Config()
	if err != nil {
		return err
	}
	if o.Foreground {
		service.TakeName()
		d := daemon{env: env, conf: conf, foreground: true, inherited: inherited, deaf: o.Deaf}
		return d.run(ctx)
	}
	if len(inherited) > 0 {
		return cmdline.ExitWith(sysexits.Usage, errors.New("sockets from a service manager are for a server in the foreground"), "start it as smtpd -bD")
	}
	if os.Getuid() == 0 {
		if _, err := ServerUser(conf); err != nil {
			return err
		}
	}
	args := env.ConfigFlags()
	if o.Deaf {
		args = append(args, "--deaf")
	}
	if err := (service.Background{Args: args}).Start(ctx); err != nil {
		return StartError(err)
	}
	return nil
}

// Obstacles returns what would keep a server from starting with a configuration,
// as far as that can be seen without making or binding anything: accounts, names
// to listen on, and places for the log. Each error is ready to be reported.
func Obstacles(ctx context.Context, conf *config.Config) (all []error) {
	if os.Getuid() == 0 || !MayServe(conf) { // else it would be a private server, which has no use for them
		if _, err := ServerUser(conf); err != nil {
			all = append(all, err)
		}
		if _, err := defaultUser(ctx, conf); err != nil {
			all = append(all, err)
		}
	}
	for _, err := range []error{checkRelay(conf, false), checkCoal(conf, false), checkTLS(conf)} {
		if err != nil {
			all = append(all, err)
		}
	}
	for _, address := range conf.Listen {
		if err := service.Resolve(ctx, address); err != nil {
			all = append(all, portError(err))
		}
	}
	for _, sink := range conf.Log {
		if err := checkLogFile(sink); err != nil {
			all = append(all, cmdline.ExitWith(sysexits.Config, fmt.Errorf("log=%s: %w", sink, err), "option log says where it goes; the directory must be there"))
		}
	}
	return all
}

// checkRelay refuses to open a port to everybody's mail for everybody, which option
// relay seems to ask for and never did (B18). deaf: no port is opened.
func checkRelay(conf *config.Config, deaf bool) error {
	if deaf || conf.Relay != "yes" {
		return nil
	}
	return cmdline.ExitWith(sysexits.Config, errors.New("relay=yes would let everybody send mail through this machine, and is for sendmail -bs alone: no server listens on a port with it"),
		"take it out, or write relay=bs, and name the clients that may relay: trusted=192.0.2.7,198.51.100.0/24,mail.example.org")
}

// giveBack is how a queue that a restore, or chown -R, has given to another
// becomes the server's again. What lies in maildrop/ keeps its owners, who are
// its senders. Users make files there: one with two names may be anything.
func giveBack(dir, user string) []string {
	drops := filepath.Join(dir, maildrop.Dir)
	return []string{
		"if it is a queue of ours: find -H " + dir + " -path '" + drops + "/*' -o -exec chown -h " + user + ": {} +",
		"and, where the group was changed too: find " + drops + " -type f -links 1 -exec chgrp " + user + " {} +",
		"else option queue-dir says where it is",
	}
}

func ownerOf(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// checkLogFile says why a file that the log is to go to can't be made. What the
// caller may not look at is not known.
func checkLogFile(sink string) error {
	name, ok := strings.CutPrefix(sink, "file:")
	if !ok {
		return nil
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return &fs.PathError{Op: "open", Path: name, Err: syscall.EISDIR}
	}
	dir := filepath.Dir(name)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return err
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	return nil
}

// belowError is what process 1 ends with: as the server below it, which has said
// why.
func belowError(err error) error {
	if e := (*service.ExitError)(nil); errors.As(err, &e) && e.Code > 0 {
		return cmdline.ExitWith(e.Code, cmdline.ErrAnswered)
	}
	if err != nil {
		return cmdline.ExitWith(sysexits.TempFail, err)
	}
	return nil
}

// RunPass is a server in this process that tries the whole queue once.
func RunPass(ctx context.Context, env *cmdline.Env, conf *config.Config) error {
	d := daemon{env: env, conf: conf, onePass: true}
	return d.run(ctx)
}

// Roles are the processes that a server starts from /proc/self/exe.
func Roles() []cmdline.Role {
	return []cmdline.Role{
		{Argv0: privsep.ServerRole, Run: runServerRole},
		{Argv0: service.MasterRole, Run: runMasterRole},
		{Argv0: privsep.UserRole, Run: runUserRole},
		{Argv0: signer.Role, Run: func(context.Context, *cmdline.Env) error { service.TakeName(); return signer.Run() }},
	}
}

// runMasterRole is the daemon that Start, runq or sendmail started behind
// itself.
func runMasterRole(ctx context.Context, env *cmdline.Env) error {
	service.TakeName()
	starter, err := service.FromStarter()
	if err != nil {
		return err
	}
	env.Program = "smtpd" // as whom the user started it
	env.Prepare(cmdline.Applet{Name: "smtpd"}, env.Args)
	pass := env.Flags.Bool("pass", false, "try the queue once, then end")
	deaf := env.Flags.Bool("deaf", false, "listen on no port")
	if err := env.Parse(); err != nil {
		return err
	}
	conf, err := env.Config()
	if err != nil {
		return err
	}
	d := daemon{env: env, conf: conf, onePass: *pass, deaf: *deaf, session: starter.Session, control: starter.Control, answers: starter.Ready}
	return d.run(ctx)
}

// Guard makes the process independent of what it inherits (A68, A77): it
// refuses rights that its caller doesn't have, a set-id bit or file
// capabilities, since no part of this program is written to be trusted with
// them; keeps foreign descriptors from every child; and takes a time zone from TZ
// by its name alone, as a file may never answer. The Go runtime has seen to
// descriptors 0 to 2 already.
func Guard() error {
	if raised() {
		return cmdline.ExitWith(sysexits.NoPerm, errors.New("this program doesn't run with raised rights"),
			"take set-id bits and capabilities off its file (chmod ug-s, setcap -r), or let the program that calls it give its own up")
	}
	if err := service.CloseOnExecAll(); err != nil {
		return cmdline.ExitWith(sysexits.OSErr, fmt.Errorf("keep inherited descriptors from children: %w", err))
	}
	if !isZone(os.Getenv("TZ")) {
		return os.Unsetenv("TZ")
	}
	return nil
}

// isZone reports whether a TZ is a name or a rule of a time zone (POSIX.1-2024,
// section 8.3), and no path. "" is UTC.
func isZone(tz string) bool {
	tz = strings.TrimPrefix(tz, ":")
	return len(tz) <= maxZone && !strings.HasPrefix(tz, "/") && !strings.Contains(tz, "..") &&
		strings.Trim(tz, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-_/.,:<>") == ""
}

const maxZone = 128 // octets

// atSecure is the entry of the auxiliary vector, getauxval(3), with which the
// kernel says that the program has rights its caller lacks.
const atSecure = 23

func raised() bool {
	if os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid() {
		return true
	}
	vector, err := unix.Auxv()
	if err != nil {
		return false // no such thing on this system: the ids decide
	}
	for _, entry := range vector {
		if entry[0] == atSecure {
			return entry[1] != 0
		}
	}
	return false
}

// remedy is what to do about an error with a directory or a port of ours, and
// the exit code that it means.
type remedy struct {
	is   error
	code int
	hint string
}

// withRemedy gives err the code and hint of the first that fits; the last fits
// everything.
func withRemedy(err error, all []remedy) error {
	for _, r := range all {
		if r.is == nil || errors.Is(err, r.is) {
			return cmdline.ExitWith(r.code, err, r.hint)
		}
	}
	return err
}

// queueDirError is an error with the queue: it may be on a file system that is
// mounted soon, and who submits a message is to try again.
func queueDirError(dir string, err error) error {
	return dirError("queue-dir", dir, sysexits.TempFail, err)
}

// runDirError is an error with the run directory.
func runDirError(dir string, err error) error {
	return dirError("run-dir", dir, sysexits.CantCreate, err)
}

// dirError is an error with the directory that an option names, which ends with
// code where it is neither a matter of rights nor of another server.
func dirError(option, dir string, code int, err error) error {
	says := "option " + option + " says where it is"
	return withRemedy(err, []remedy{
		{service.ErrRunning, sysexits.TempFail, "end it first, as with kill $(cat " + filepath.Join(dir, "postoffice.pid") + "), or give this server another " + option + ", queue-dir and listen"},
		{spool.ErrFull, sysexits.TempFail, "make room there: df -h and df -i on " + dir + " show how much there is"},
		{maildrop.ErrForeign, sysexits.NoPerm, "give the directory itself to who owns the queue: chown --reference=" + dir + " " + filepath.Join(dir, maildrop.Dir)},
		{spool.ErrForeign, sysexits.NoPerm, "it must be the server's alone: chown and chmod it so if it is a queue of ours; else " + says},
		{disk.ErrNoSync, code, "a power cut could lose mail there: use a local file system that can sync directories, such as ext4, XFS or Btrfs; " + says},
		{fs.ErrNotExist, code, "the directory above it must be there: mkdir -p " + filepath.Dir(dir) + "; or " + says},
		{syscall.EROFS, code, "its file system is read-only: mount it for writing; or " + says},
		{syscall.ENOTDIR, code, "something in its path is no directory; " + says},
		{fs.ErrPermission, sysexits.NoPerm, notOurs(says)},
		{nil, code, says},
	})
}

// notOurs is what to do where our user may not write.
func notOurs(says string) string {
	if os.Getuid() == 0 {
		return "something keeps even root from it, such as a security policy; " + says
	}
	return fmt.Sprintf("uid %d may not write there: start it as root, or with a configuration of your own, as the last example of postoffice.cf(5)", os.Getuid())
}

// portError is an error with what option listen names.
func portError(err error) error {
	if unknown := (*net.DNSError)(nil); errors.As(err, &unknown) {
		if _, none := net.InterfaceByName(unknown.Name); none == nil {
			return cmdline.ExitWith(sysexits.OSErr, err, unknown.Name+" is an interface: give its address, which ip address shows, as in 192.0.2.1:25")
		}
		return cmdline.ExitWith(sysexits.OSErr, err, "the name must be in /etc/hosts or the DNS when the server starts; an address, such as 192.0.2.1:25, needs neither")
	}
	return withRemedy(err, []remedy{
		{syscall.EADDRINUSE, sysexits.OSErr, "ss -ltnp shows who holds a port; option listen changes ours"},
		{syscall.EADDRNOTAVAIL, sysexits.OSErr, "no interface has that address now (ip address shows those that are there); option listen=:25 takes all of them, also later ones"},
		{fs.ErrPermission, sysexits.OSErr, "ports below 1024 are root's: start it as root, or choose another, as with -o listen=127.0.0.1:2525"},
		{nil, sysexits.OSErr, "option listen says where the server listens"},
	})
}

// LeftQueues tells of former queue directories that hold mail.
func LeftQueues(conf *config.Config) (all []string) {
	for _, dir := range service.QueuesLeft(conf.RunDir, conf.QueueDir) {
		all = append(all, leftQueue(conf, dir))
	}
	return all
}

// leftQueue says of a former queue directory that mail is in it, and what to do.
func leftQueue(conf *config.Config, dir string) string {
	return fmt.Sprintf("%s was queue-dir before, and mail in it waits for a server: postoffice runq -v -o queue-dir=%[1]s -o run-dir=%s-old tries to deliver it", dir, conf.RunDir)
}
