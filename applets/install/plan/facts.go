package plan

// Packages is who keeps the list of a system's files.
type Packages string

// Those that are known.
const (
	Dpkg  Packages = "dpkg"
	RPM   Packages = "rpm"
	Apk   Packages = "apk"
	Other Packages = "" // nobody, or nobody that we know
)

// Manager is who starts services at boot.
type Manager string

// Those that are known.
const (
	Systemd Manager = "systemd"
	OpenRC  Manager = "OpenRC"
	SysV    Manager = "init scripts in the order of System V"
	RCS     Manager = "busybox's rcS"
	FreeBSD Manager = "FreeBSD's rc.d"
	NetBSD  Manager = "NetBSD's rc.d"
	OpenBSD Manager = "OpenBSD's rc.d"
	Nobody  Manager = ""
)

// ofBSD reports whether it is a BSD's, which has no /run.
func (m Manager) ofBSD() bool { return m == FreeBSD || m == NetBSD || m == OpenBSD }

// Kind is what stands at a name.
type Kind uint8

// The kinds.
const (
	Missing Kind = iota
	File
	Directory
	Symlink
	Special
)

// Entry is what stands at a name.
type Entry struct {
	Kind   Kind
	Ours   bool   // it is this program's, by an earlier install or by hand
	Target string // Symlink: as it is written
	Owner  string // the package whose it is, where that is known
	Sum    string // File: Sum of its text, where it is small
}

// busybox reports whether it is one of busybox's own names, which it makes where nothing
// else stands.
func (e Entry) busybox() bool {
	return e.Kind == Symlink && (e.Target == "/bin/busybox" || e.Target == "busybox" || e.Target == "../../bin/busybox" || e.Target == "../bin/busybox")
}

// Facts are what is asked for, and what is found.
type Facts struct {
	Prefix string // /usr/local
	Hard   bool   // names are hard links
	Live   bool   // it is this machine that is installed in, and no other root
	Bare   bool   // the root has no accounts: files are gathered there, for a package

	Packages     Packages
	Manager      Manager
	Running      bool   // Manager, here and now
	MailerConf   string // where the system's mailwrapper reads which mail server is meant; "": there is none
	Alternatives string // the program that chooses between mail servers, of Red Hat; "": there is none
	Insserv      string // SysV: the program that orders init scripts by what they say of themselves; "": their numbers do
	NoLogin      string // a shell that lets nobody in

	Entries map[string]Entry // by path, for those of Paths
	Users   map[string]bool  // accounts that there are
	Groups  map[string]bool

	Self    string  // Sum of the program that is installed
	Listens bool    // Live: somebody else answers at port 25 of this machine
	Record  []*Step // what an earlier install has done
}

// Paths are the names that are to be looked at before a plan can be made, and those of the
// directories above them.
func Paths(f *Facts) []string {
	blind := *f
	blind.Entries = nil
	p := planner{f: &blind, looked: map[string]bool{}}
	p.install()
	for _, s := range f.Record {
		p.entry(s.Path)
		p.entry(s.To)
	}
	return p.sorted()
}

// Refusal is why nothing is installed, and what to do about it.
type Refusal struct{ What, Do string }

// Install is what installing comes to: its steps in their order, and why it can't be. With a
// refusal the steps are those of everything else.
func Install(f *Facts) ([]*Step, []Refusal) {
	p := planner{f: f, looked: map[string]bool{}}
	p.install()
	return p.steps, p.refusals
}
