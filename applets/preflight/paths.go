package preflight

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"postoffice/applets/config"
	"postoffice/applets/service"
	"postoffice/internal/alias"
	"postoffice/internal/disk"
	"postoffice/spool"
)

// Who is the server that paths are looked at for.
type Who struct {
	Server  service.User // whose the queue is; UID -1: there is no such account
	Many    bool         // it delivers to all users of the machine, as root's does
	MinFree int64        // octets that the spool's file system must have for mail to be taken
	// AsServer runs a function that opens files with the server's rights.
	AsServer func(func() error) error
	// CheckCommand says what is wrong with the words of a command, CheckScanner of one that
	// judges mail; nil: nothing is.
	CheckCommand, CheckScanner func(words string) error
}

// look is a way to look at a path; nil: nothing was found.
type look func(p config.Path, w Who) *Finding

// looks is the list: a look for each kind of path.
var looks = [...]look{
	config.QueueDir:     queueDir,
	config.RunDir:       runDir,
	config.StateDir:     stateDir,
	config.MailDir:      mailDir,
	config.AliasFile:    aliasFile,
	config.MailboxPlace: mailboxPlace,
	config.Command:      command,
	config.Scanner:      scanner,
	config.ProgramDir:   programDir,
	config.LoginSource:  loginSource,
	config.PasswordFile: passwordFile,
	config.ReadFile:     readFile,
	config.LogFile:      logFile,
}

// Paths looks at the paths of a configuration. Where mailboxes are elsewhere, nobody
// misses the mail directory.
func Paths(paths []config.Path, w Who) []Finding {
	var all []Finding
	elsewhere := false
	for _, p := range paths {
		elsewhere = elsewhere || p.Kind == config.MailboxPlace || p.Kind == config.Command
	}
	for _, p := range paths {
		if p.Kind == config.MailDir && elsewhere {
			continue
		}
		if f := looks[p.Kind](p, w); f != nil {
			all = append(all, *f)
		}
	}
	return all
}

// queueDir looks whether the spool can be opened, or made.
func queueDir(p config.Path, w Who) *Finding {
	stops := func(err error) *Finding { return &Finding{Stops, p.Option, err} }
	if absent(p.Name) {
		if err := mayMake(p.Name); err != nil {
			return stops(QueueDirError(p.Name, fmt.Errorf("make the queue directory: %w", err)))
		}
		return nil
	}
	if w.Server.UID < 0 {
		return nil
	}
	if err := QueueDir(p.Name, w.Server); err != nil {
		if service.Fresh(p.Name) && os.Getuid() == 0 {
			return nil // the master gives it to the server
		}
		return stops(err)
	}
	if err := w.AsServer(func() error { return spool.Fit(p.Name) }); err != nil {
		return stops(QueueDirError(p.Name, fmt.Errorf("open the queue: %w", err)))
	}
	if err := w.AsServer(func() error { return takesMail(p.Name, w.MinFree) }); err != nil {
		return &Finding{Waits, p.Option, QueueDirError(p.Name, fmt.Errorf("no mail is taken: %w", err))}
	}
	return nil
}

// takesMail says why nothing can be written to a queue now.
func takesMail(path string, minFree int64) error {
	if err := access(path, unix.W_OK|unix.X_OK); err != nil {
		return at("open", path, err)
	}
	dir, err := disk.OS().OpenDir(path)
	if err != nil {
		return nil // it isn't known
	}
	defer dir.Close()
	room, err := dir.Space()
	if err != nil {
		return nil
	}
	if want := spool.KeptFree(minFree, room.Total); room.Octets < want {
		return fmt.Errorf("%w: %d KiB are free on %s, and minfree keeps %d", spool.ErrFull, room.Octets>>10, path, want>>10)
	}
	return nil
}

// runDir looks whether the run directory can be used, or made, and reached by programs of
// all users.
func runDir(p config.Path, w Who) *Finding {
	err := service.CheckRunDir(p.Name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = mayMake(p.Name); err != nil {
			err = fmt.Errorf("make the run directory: %w", err)
		}
	}
	if err != nil {
		return &Finding{Stops, p.Option, RunDirError(p.Name, err)}
	}
	if closed := closedDir(filepath.Dir(p.Name)); closed != "" && w.Many {
		return found(Odd, p, fmt.Errorf("%s lets not everybody through: sendmail and mailq of some users don't find the server", closed), "chmod a+x "+closed)
	}
	return nil
}

// stateDir looks whether what the server makes for itself can be kept.
func stateDir(p config.Path, _ Who) *Finding {
	for dir := p.Name; ; dir = filepath.Dir(dir) {
		if absent(dir) && dir != "/" {
			continue
		}
		err := isDir(dir)
		if err == nil {
			err = access(dir, unix.W_OK|unix.X_OK)
		}
		if err == nil {
			return nil
		}
		return found(Odd, p, at("mkdir", dir, err), "without it a server that makes its own certificate makes another one at each start")
	}
}

// mailDir looks whether there is a place for mailboxes.
func mailDir(p config.Path, w Who) *Finding {
	err := isDir(p.Name)
	if err == nil && !w.Many {
		err = access(p.Name, unix.W_OK|unix.X_OK)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return found(Waits, p, at("open", p.Name, err), "mount it, or make it: "+makeMailDir(p.Name, w)+"; until it is there mail for users waits")
	case err != nil:
		return found(Waits, p, at("open", p.Name, err), "until that is mended mail for users waits")
	}
	info, err := os.Stat(p.Name)
	if err == nil && w.Many && info.Mode()&0o022 == 0 {
		return found(Waits, p, fmt.Errorf("%s is %v: users have no right to make a mailbox there", p.Name, info.Mode()), "chgrp mail "+p.Name+" && chmod 2775 "+p.Name+"; until then mail for users without a mailbox waits")
	}
	return nil
}

// makeMailDir is how a mail directory is made.
func makeMailDir(dir string, w Who) string {
	if !w.Many {
		return "mkdir -p " + dir
	}
	return "mkdir -p " + dir + " && chgrp mail " + dir + " && chmod 2775 " + dir
}

// aliasFile looks whether an alias file that is named is there.
func aliasFile(p config.Path, _ Who) *Finding {
	if _, err := os.Stat(p.Name); !errors.Is(err, fs.ErrNotExist) || !absent(p.Name+".db") {
		return nil
	}
	if err := alias.Missed(p.Name, p.Named); err != nil {
		return found(Waits, p, err, "until it is there, mail for names of this machine waits")
	}
	return nil
}

// mailboxPlace looks whether the socket of an LMTP server is there.
func mailboxPlace(p config.Path, w Who) *Finding {
	socket, ok := strings.CutPrefix(p.Name, "lmtp:")
	if !ok {
		return nil
	}
	if err := mayConnect(socket, w); err != nil {
		return found(Waits, p, err, "start the server that makes it, and let "+w.Server.Name+" write it, mailboxes(7); until then mail for users waits")
	}
	return nil
}

// loginSource looks whether who knows passwords can be asked.
func loginSource(p config.Path, w Who) *Finding {
	_, socket, named := strings.Cut(p.Name, ":")
	if p.Name == config.LoginSystem {
		return systemLogins(p, w, "/etc/shadow")
	}
	if !named {
		return nil
	}
	if err := mayConnect(socket, w); err != nil {
		return found(Waits, p, err, "start the server that makes it, and let "+w.Server.Name+" write it; until then nobody can log in")
	}
	return nil
}

// systemLogins looks whether the accounts of the machine can be asked.
func systemLogins(p config.Path, w Who, file string) *Finding {
	if !w.Many {
		return found(Waits, p, errors.New("passwords of the machine's accounts are for a server of root's to ask for"), "take system out, or have root start the server; until then nobody can log in to such an account")
	}
	if _, err := os.Stat(file); err != nil {
		return found(Waits, p, at("open", file, err), "make it with pwconv; until then nobody can log in to an account of the machine")
	}
	return nil
}

// passwordFile looks whether a file of passwords that is named is there.
func passwordFile(p config.Path, _ Who) *Finding {
	if _, err := os.Stat(p.Name); errors.Is(err, fs.ErrNotExist) && (p.Named || !absent(p.Name)) {
		return found(Waits, p, at("open", p.Name, err), "make it, with mode 0600; until then mail for who asks for a password waits")
	}
	return nil
}

// readFile looks whether the server can read a file that changes where mail goes, or what
// it is called.
func readFile(p config.Path, w Who) *Finding {
	err := w.AsServer(func() error {
		err := access(p.Name, unix.R_OK)
		if info, stat := os.Stat(p.Name); err == nil && stat == nil && !info.Mode().IsRegular() {
			return fmt.Errorf("%s is %v, and no file", p.Name, info.Mode())
		}
		return at("open", p.Name, err)
	})
	if err != nil {
		return found(Waits, p, err, "make it, and let "+w.Server.Name+" read it: chmod a+r "+p.Name+"; until then mail goes as if the option were not set")
	}
	return nil
}

// mayConnect says why the server can't connect to a socket of another one's.
func mayConnect(socket string, w Who) error {
	return w.AsServer(func() error {
		info, err := os.Stat(socket)
		switch {
		case err != nil:
			return at("connect", socket, err)
		case info.Mode()&fs.ModeSocket == 0:
			return fmt.Errorf("%s is no socket", socket)
		}
		return at("connect", socket, access(socket, unix.W_OK))
	})
}

// command looks whether a program can run.
func command(p config.Path, w Who) *Finding {
	f, program, mode := commandOf(p, w.CheckCommand, "until it is mended mail for users waits")
	if f == nil && w.Many && mode != 0 && mode&0o001 == 0 {
		f = found(Odd, p, fmt.Errorf("%s is %v: not every user may run it, and it runs as each", program, mode), "chmod a+rx "+program)
	}
	return f
}

// scanner looks at the program of option av.
func scanner(p config.Path, w Who) *Finding {
	f, _, _ := commandOf(p, w.CheckScanner, "until it is mended mail is asked to come again, and what programs send waits")
	return f
}

// commandOf looks at a command and its program, and returns that and its mode, where it
// can be told.
func commandOf(p config.Path, check func(words string) error, hint string) (f *Finding, program string, mode os.FileMode) {
	if check != nil {
		if err := check(p.Name); err != nil {
			return found(Waits, p, err, hint), "", 0
		}
	}
	program, _, _ = strings.Cut(p.Name, " ")
	if !strings.HasPrefix(program, "/") || strings.ContainsAny(program, `"$`) {
		return nil, "", 0 // it hangs on the message
	}
	info, err := os.Stat(program)
	switch {
	case err != nil:
		return found(Waits, p, at("exec", program, err), hint), program, 0
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return found(Waits, p, fmt.Errorf("%s is %v, which nobody can run", program, info.Mode()), hint), program, 0
	}
	return nil, program, info.Mode()
}

// programDir looks whether the programs that may run are there.
func programDir(p config.Path, _ Who) *Finding {
	if err := isDir(p.Name); err != nil {
		return found(Waits, p, at("open", p.Name, err), "mkdir -p "+p.Name+", and link there what may run; until then mail for programs waits")
	}
	return nil
}

// logFile looks whether a file of the log can be made. What the caller may not look at
// isn't known.
func logFile(p config.Path, _ Who) *Finding {
	name, ok := strings.CutPrefix(p.Name, "file:")
	if !ok {
		return nil
	}
	stops := func(err error) *Finding {
		return &Finding{Stops, p.Option, LogError(p.Name, fmt.Errorf("open the log: %w", err))}
	}
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return stops(&fs.PathError{Op: "open", Path: name, Err: syscall.EISDIR})
	case err == nil:
		err = access(name, unix.W_OK)
	case absent(name):
		err = mayMake(name)
	}
	if err != nil {
		return stops(at("open", name, err))
	}
	return nil
}

// absent reports whether there is no such name.
func absent(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// mayMake says why a name can't be made in the directory above it.
func mayMake(path string) error {
	dir := filepath.Dir(path)
	err := isDir(dir)
	if err == nil {
		err = access(dir, unix.W_OK|unix.X_OK)
	}
	return at("mkdir", path, err)
}

// isDir says why a path leads to no directory.
func isDir(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	return err
}

// at is an error of the system's with what was to be done, and where.
func at(op, path string, err error) error {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return err
	}
	return &fs.PathError{Op: op, Path: path, Err: no}
}

// closedDir is the first directory on a way that not everybody may pass, "" none.
func closedDir(dir string) string {
	closed := ""
	for ; ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.Mode()&0o001 == 0 {
			closed = dir
		}
		if dir == "/" || dir == "." {
			return closed
		}
	}
}

// access says why this thread, with the ids that it has now, may not do what mode says.
func access(path string, mode uint32) error {
	return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
}
