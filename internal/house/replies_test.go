package house

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// repliesPage lists what the server answers, and is made from the code.
const repliesPage = "docs/replies.md"

// repliers are the packages whose replies clients get.
var repliers = []string{"applets/smtpd", "applets/policy", "deliver/route"}

// A givenReply is one that the code writes.
type givenReply struct {
	code, status, text, why string
	pos                     token.Position
}

// TestRepliesPage: the page has each reply of the server with both codes, its words
// and its reason, and the words of a refusal tell a person what to do. make man
// writes it anew.
func TestRepliesPage(t *testing.T) {
	page := repliesText(t)
	if *update {
		if err := os.WriteFile(repliesPage, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(repliesPage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, page) {
		t.Errorf("%s is not what the code says: run `make man`", repliesPage)
	}
}

// advice is what the words of a refusal have in them: what to do.
var advice = regexp.MustCompile(`(^|[,:;.] )(or )?(try|send|say|see|mend|leave|give|check|end|speak|submit|name|wait|use|look|HELP|want|usage)\b|comes first|try again|RSET ends|can give it|WORDS|WHY|WRONG|ORDER`)

// repliesText makes the page.
func repliesText(t *testing.T) []byte {
	t.Helper()
	exports, packages := exportData(t), shippedPackages(t)
	var all []givenReply
	var wrong []string
	for _, pkg := range append(slices.Clone(repliers), "internal/smtp") {
		fset := token.NewFileSet()
		info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
		files := checkedFiles(t, fset, info, pkg, packages[pkg], exports)
		if pkg == "internal/smtp" {
			wrong = wrongWords(info, fset, files)
			continue
		}
		for _, file := range files {
			all = append(all, repliesOf(t, pkg, fset, info, file)...)
		}
	}
	slices.SortStableFunc(all, func(a, b givenReply) int {
		return cmp.Or(strings.Compare(a.code, b.code), strings.Compare(a.status, b.status))
	})
	all = slices.CompactFunc(all, func(a, b givenReply) bool { return a.code+a.status+a.text+a.why == b.code+b.status+b.text+b.why })
	var page bytes.Buffer
	page.WriteString(`# Replies

Each reply that the SMTP server gives, made from the code by a test; what stands in capitals is filled in. Option soft-deny (postoffice.cf(5)) makes 4yz of the 5yz of checks: 450, or 421 where the client is not greeted. The log has refusals with the same words, in the field reply: logging.md.

| code | status | words | reason |
| --- | --- | --- | --- |
`)
	for _, r := range all {
		if strings.ContainsAny(r.code[:1], "45") && !advice.MatchString(r.text) {
			t.Errorf("%s: %s %s %q does not tell a person what to do", r.pos, r.code, r.status, r.text)
		}
		if r.status == "" && r.code != "220" && r.code != "354" && r.why != "HELO" && !strings.HasPrefix(r.why, "EHLO;") && !strings.HasPrefix(r.text, "LINES") { // DEBUG's have the first postoffice's form
			t.Errorf("%s: %s %q has no enhanced status code (RFC 2034 section 4)", r.pos, r.code, r.text)
		}
		fmt.Fprintf(&page, "| %s | %s | %s | %s |\n", r.code, r.status, r.text, r.why)
	}
	page.WriteString("\n## What may be wrong with an address or a parameter\n\n")
	for _, text := range wrong {
		page.WriteString("- " + text + "\n")
	}
	return page.Bytes()
}

// repliesOf returns the replies of a file.
func repliesOf(t *testing.T, pkg string, fset *token.FileSet, info *types.Info, file *ast.File) (all []givenReply) {
	comments := map[int]string{} // by line
	for _, group := range file.Comments {
		comments[fset.Position(group.Pos()).Line] = strings.Join(strings.Fields(group.Text()), " ")
	}
	for _, decl := range file.Decls {
		f, isFunc := decl.(*ast.FuncDecl)
		for n := range ast.Preorder(decl) {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for i, to := range n.Lhs {
					if sel, ok := to.(*ast.SelectorExpr); ok && sel.Sel.Name == "Text" && isReply(info, sel.X) && strings.HasPrefix(pkg, "applets/") {
						t.Errorf("%s: the text of a reply is written where %s can't see it: write the reply as a whole", fset.Position(n.Lhs[i].Pos()), repliesPage)
					}
				}
			case *ast.CompositeLit:
				if !isReply(info, n) || len(n.Elts) == 0 {
					continue
				}
				r := givenReply{pos: fset.Position(n.Pos())}
				r.code, r.status, r.text = field(info, n, "Code"), field(info, n, "Status"), field(info, n, "Text")
				r.why = cmp.Or(comments[r.pos.Line], comments[fset.Position(n.End()).Line])
				if r.why == "" && isFunc {
					r.why = firstSentence(f)
				}
				if r.why == "" {
					t.Errorf("%s: a comment in its line says what this reply is given for", r.pos)
				}
				all = append(all, r)
			}
		}
	}
	return all
}

func isReply(info *types.Info, e ast.Expr) bool {
	t := info.TypeOf(e)
	return t != nil && strings.TrimPrefix(t.String(), "*") == "postoffice/internal/smtp.Reply"
}

// firstSentence is what the comment of a function says first, without its name.
func firstSentence(f *ast.FuncDecl) string {
	words := strings.TrimPrefix(strings.Join(strings.Fields(f.Doc.Text()), " "), f.Name.Name+" ")
	first, _, _ := strings.Cut(words, ". ")
	return strings.TrimSuffix(first, ".")
}

// field returns what a field of a literal is, as the page shows it.
func field(info *types.Info, lit *ast.CompositeLit, name string) string {
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok && kv.Key.(*ast.Ident).Name == name {
			text := shown(info, kv.Value)
			return strings.ReplaceAll(strings.ReplaceAll(text, "|", `\|`), "\n", " ")
		}
	}
	return ""
}

// verbs of a format.
var formatVerb = regexp.MustCompile(`%[a-z]`)

// shown returns a value: constants as they are, what is known when the server runs
// alone as a name in capitals.
func shown(info *types.Info, e ast.Expr) string {
	if v := info.Types[e].Value; v != nil {
		if v.Kind() == constant.String {
			return constant.StringVal(v)
		}
		return v.ExactString()
	}
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return shown(info, e.X) + shown(info, e.Y)
	case *ast.ParenExpr:
		return shown(info, e.X)
	case *ast.SelectorExpr:
		return capitals(e.Sel.Name)
	case *ast.Ident:
		return capitals(e.Name)
	case *ast.CallExpr:
		if sel, ok := e.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sprintf" {
			args := e.Args[1:]
			return formatVerb.ReplaceAllStringFunc(shown(info, e.Args[0]), func(string) string {
				arg := args[0]
				args = args[1:]
				return shown(info, arg)
			})
		}
		if sel, ok := e.Fun.(*ast.SelectorExpr); ok && (sel.Sel.Name == "Error" || sel.Sel.Name == "Join") {
			return map[string]string{"Error": "WHAT IS WRONG", "Join": "LINES"}[sel.Sel.Name]
		}
		if len(e.Args) > 0 {
			return shown(info, e.Args[0])
		}
		return shown(info, e.Fun)
	}
	return "…"
}

// capitals is the name of what is filled in.
func capitals(name string) string {
	named := map[string]string{"Hostname": "HOST", "name": "COMMAND", "usage": "ARGUMENT", "text": "WORDS", "Text": "WORDS", "why": "WHY", "order": "ORDER", "Code": "the same", "Status": "the same", "status": "5.1.3 or 5.1.7"}
	return cmp.Or(named[name], strings.ToUpper(name))
}

// wrongWords are the errors about addresses and parameters, which replies quote.
func wrongWords(info *types.Info, fset *token.FileSet, files []*ast.File) (all []string) {
	for _, file := range files {
		name := fset.Position(file.Pos()).Filename
		if !slices.ContainsFunc([]string{"/path.go", "/parsepath.go", "/params.go", "/dsn.go"}, func(end string) bool { return strings.HasSuffix(name, end) }) {
			continue
		}
		for n := range ast.Preorder(file) {
			if call, ok := n.(*ast.CallExpr); ok && len(call.Args) == 1 {
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "New" && info.Types[call.Args[0]].Value != nil {
					all = append(all, constant.StringVal(info.Types[call.Args[0]].Value))
				}
			}
		}
	}
	return all
}
