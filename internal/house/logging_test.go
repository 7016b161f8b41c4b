package house

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// loggingPage says what the log's lines mean.
const loggingPage = "docs/logging.md"

// TestLoggingPage: the page has each event of the log, with levels that it may
// have, and each field, and nothing else.
func TestLoggingPage(t *testing.T) {
	page, err := os.ReadFile(loggingPage)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{} // levels by event, "field" by field
	for _, m := range regexp.MustCompile(`(?m)^\| (.+?) \| ((?:Debug|Info|Warn|Error|field)(?:, (?:Info|Warn|Error))*) \| \S`).FindAllStringSubmatch(string(page), -1) {
		if told[m[1]] != "" {
			t.Errorf("%s has %q twice", loggingPage, m[1])
		}
		told[m[1]] = m[2]
	}
	real := logLines(t)
	for _, what := range slices.Sorted(maps.Keys(real)) {
		for level := range strings.SplitSeq(told[what], ", ") {
			if level == "" || !strings.Contains(real[what], level) {
				t.Errorf("%s has %q as %q, want %q", loggingPage, what, told[what], real[what])
			}
		}
	}
	for _, what := range slices.Sorted(maps.Keys(told)) {
		if real[what] == "" {
			t.Errorf("%s has %q, which is no event and no field", loggingPage, what)
		}
	}
}

// oldLines is the section of the page that maps the log of the first postoffice.
const oldLines = "## The lines of the first postoffice"

// oldLineNames are what section 3.15 of its reference has, and what else its log is
// searched for.
var oldLineNames = []string{"deliver mail from F (CLIENT) to USER (FULL)", "delivery failed from F (CLIENT) to USER (FULL)", "deliver mail from F (qid Q) to R (HOST)",
	"delivery failed from F (qid Q) to R (HOST)", "VIRUS from", "EOF during DATA from NAME", "IP teergrube", "runq every N minutes", "session timeout", "MAILER-DAEMON",
	"[SPAM]", "[DENY]", "Auditing on", "AUDIT:", "REJECT:", "WRONG NUMBER:", "is a local mx", "alias loop", "double-bounce:", "Coal for", "Zombie", "server exit on signal", "CRASH with signal"}

// TestOldLogLines: the page says for each line of the first postoffice's log which
// events say the same, and these are there, with fields that are there, or why none
// does.
func TestOldLogLines(t *testing.T) {
	page, err := os.ReadFile(loggingPage)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), oldLines)
	real := logLines(t)
	old := ""
	rows := regexp.MustCompile(`(?m)^\| (.+) \| (.+) \|$`).FindAllStringSubmatch(section, -1)
	for _, m := range rows[min(2, len(rows)):] { // the table's head
		old += m[1] + "\n"
		for part := range strings.SplitSeq(m[2], "; ") {
			event, fields, _ := strings.Cut(part, ":")
			if strings.HasPrefix(event, "none") {
				continue
			}
			if real[event] == "" || real[event] == "field" {
				t.Errorf("%s: %q is no event", m[1], event)
			}
			for _, f := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(fields, -1) {
				if real[f[1]] != "field" {
					t.Errorf("%s: %s: %s is no field", m[1], event, f[1])
				}
			}
		}
	}
	for _, name := range oldLineNames {
		if !strings.Contains(old, name) {
			t.Errorf("%s has nothing about %q", loggingPage, name)
		}
	}
}

// levelNames are the levels from low to high.
var levelNames = []string{"Debug", "Info", "Warn", "Error"}

// logLines finds each event of shipped code and its levels, and each field.
func logLines(t *testing.T) map[string]string {
	t.Helper()
	packages := map[string]*logged{}
	lines := map[string]string{}
	constructors := logConstructors(t)
	goFiles(t, func(name string, file *ast.File, fset *token.FileSet) {
		pkg := path.Dir(name)
		if forTests(name) || strings.HasPrefix(pkg, "internal/testenv") || strings.HasPrefix(pkg, "internal/disk/crashfs") {
			return
		}
		p := packages[pkg]
		if p == nil {
			p = &logged{t: t, fset: fset, wrappers: map[string]logCall{}, levels: map[string]map[string]bool{}}
			packages[pkg] = p
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				p.funcs = append(p.funcs, logFunc{f, fset})
			}
		}
		if pkg != "internal/maillog" {
			for _, field := range logFields(file, constructors) {
				lines[field] = "field"
			}
		}
	})
	for _, p := range packages {
		for p.collect() {
		}
		for event, levels := range p.levels {
			for level := range levels {
				if !strings.Contains(lines[event], level) {
					lines[event] += "," + level
				}
			}
		}
	}
	for what, levels := range lines {
		if levels != "field" {
			all := slices.DeleteFunc(slices.Clone(levelNames), func(l string) bool { return !strings.Contains(levels, l) })
			lines[what] = strings.Join(all, ", ")
		}
	}
	return lines
}

// logFields are the names of the attributes that a file gives: those of slog, and
// those of the constructors of internal/maillog by their names here.
func logFields(file *ast.File, constructors map[string]string) (names []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		switch x, _ := sel.X.(*ast.Ident); {
		case x == nil:
		case x.Name == "maillog" && constructors[sel.Sel.Name] != "":
			names = append(names, constructors[sel.Sel.Name])
		case x.Name == "slog" && len(call.Args) == 2:
			if lit, ok := call.Args[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				name, _ := strconv.Unquote(lit.Value)
				names = append(names, name)
			}
		}
		return true
	})
	return names
}

// logConstructors finds the constructors of attributes and the names that they
// give.
func logConstructors(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	goFiles(t, func(name string, file *ast.File, _ *token.FileSet) {
		if path.Dir(name) != "internal/maillog" || isTest(name) {
			return
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.IsExported() {
				one := &ast.File{Name: file.Name, Decls: []ast.Decl{f}}
				if names := logFields(one, nil); len(names) > 0 {
					all[f.Name.Name] = names[0]
				}
			}
		}
	})
	return all
}

// logged is what a package logs.
type logged struct {
	t        *testing.T
	fset     *token.FileSet
	funcs    []logFunc
	wrappers map[string]logCall         // functions that log a message that they are given
	levels   map[string]map[string]bool // by event
}

type logFunc struct {
	*ast.FuncDecl
	fset *token.FileSet
}

// logCall is where a function takes an event and its level: indices of its
// arguments; level -1: those of fixed.
type logCall struct {
	event, level int
	fixed        []string
}

// collect goes through the functions once; true: it found a new wrapper.
func (p *logged) collect() (more bool) {
	for _, f := range p.funcs {
		ast.Inspect(f.Body, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := called(call)
			to, ok := p.wrappers[name]
			if name == ".LogAttrs" {
				to, ok = logCall{event: 2, level: 1}, true
			}
			if !ok || len(call.Args) <= to.event {
				return true
			}
			levels := to.fixed
			at := -1
			if to.level >= 0 {
				if at = param(f.FuncDecl, call.Args[to.level]); at < 0 {
					levels = levelsOf(f.FuncDecl, call.Args[to.level])
				}
			}
			if i := param(f.FuncDecl, call.Args[to.event]); i >= 0 {
				if _, known := p.wrappers[callName(f.FuncDecl)]; !known {
					p.wrappers[callName(f.FuncDecl)] = logCall{event: i, level: at, fixed: levels}
					more = true
				}
				return true
			}
			events := textsOf(f.FuncDecl, call.Args[to.event])
			if len(events) == 0 || len(levels) == 0 {
				p.t.Errorf("%s: an event or a level that is not constant", f.fset.Position(call.Pos()))
			}
			for _, event := range events {
				for _, level := range levels {
					if p.levels[event] == nil {
						p.levels[event] = map[string]bool{}
					}
					p.levels[event][level] = true
				}
			}
			return true
		})
	}
	return more
}

// called is the name of what is called, with a dot before that of a method.
func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return "." + f.Sel.Name
	}
	return ""
}

// callName is how f is called in its package.
func callName(f *ast.FuncDecl) string {
	if f.Recv != nil {
		return "." + f.Name.Name
	}
	return f.Name.Name
}

// param is the index of a function's parameter that x is; -1: none.
func param(f *ast.FuncDecl, x ast.Expr) int {
	id, ok := x.(*ast.Ident)
	if !ok {
		return -1
	}
	i := 0
	for _, field := range f.Type.Params.List {
		for _, name := range field.Names {
			if name.Name == id.Name {
				return i
			}
			i++
		}
	}
	return -1
}

// textsOf are the strings that x may be: itself, or what the function assigns.
func textsOf(f *ast.FuncDecl, x ast.Expr) (texts []string) {
	for _, v := range valuesOf(f, x) {
		if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, _ := strconv.Unquote(lit.Value)
			texts = append(texts, text)
		}
	}
	return texts
}

// levelsOf are the levels that x may be.
func levelsOf(f *ast.FuncDecl, x ast.Expr) (levels []string) {
	for _, v := range valuesOf(f, x) {
		if sel, ok := v.(*ast.SelectorExpr); ok {
			if level, ok := strings.CutPrefix(sel.Sel.Name, "Level"); ok {
				levels = append(levels, level)
			}
		}
	}
	return levels
}

// valuesOf is x, or what the function assigns to the variable x.
func valuesOf(f *ast.FuncDecl, x ast.Expr) []ast.Expr {
	id, ok := x.(*ast.Ident)
	if !ok {
		return []ast.Expr{x}
	}
	var all []ast.Expr
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if set, ok := n.(*ast.AssignStmt); ok {
			for i, left := range set.Lhs {
				if l, ok := left.(*ast.Ident); ok && l.Name == id.Name && len(set.Rhs) == len(set.Lhs) {
					all = append(all, set.Rhs[i])
				}
			}
		}
		return true
	})
	return all
}
