// Makes packages of commands importable, so that one program can hold several of them.
//
//	rewrite FOLDER PACKAGE...
//
// Nothing is written into the packages: what takes the place of their files goes to FOLDER, and a line for each is printed,
// the file, a tab, and what takes its place. In a package that is rewritten
//
//   - the name is no longer `main`, which nothing may import;
//   - each `init` has a name of its own and is deferred: it runs when this program is the one that was started, and not for
//     the others. Which files belong to a build is for go to say, so each file registers its own, in their order;
//   - KimgInit runs those, and KimgMain runs `main`.
//
// Every line stays where it is. Variables of a package are set before anything runs, for the other programs too: a package
// whose variables register flags is refused, since the flags of two programs would be one set.
package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The file that a rewritten package has more than before.
const further = "kimg_multicall.go"

const furtherText = `package kimg_main

var kimgInits []func()

func kimgDefer(f func()) (none struct{}) {
	kimgInits = append(kimgInits, f)
	return
}

// KimgInit runs what the program does before its main.
func KimgInit() {
	for _, f := range kimgInits {
		f()
	}
}

// KimgMain runs the program.
func KimgMain() { main() }
`

func main() {
	if len(os.Args) < 3 {
		fail("usage: rewrite FOLDER PACKAGE...")
	}
	for place, folder := range os.Args[2:] {
		files, err := os.ReadDir(folder)
		if err != nil {
			fail(err)
		}
		prefix := filepath.Join(os.Args[1], strconv.Itoa(place)+"-")
		for number, file := range files {
			path := filepath.Join(folder, file.Name())
			if file.IsDir() || filepath.Ext(path) != ".go" {
				continue
			}
			if file.Name() == further {
				fail(path, "is in the way")
			}
			text, err := os.ReadFile(path)
			if err != nil {
				fail(err)
			}
			if text = rewritten(path, text, number); text != nil {
				replace(path, prefix+file.Name(), text)
			}
		}
		replace(filepath.Join(folder, further), prefix+further, []byte(furtherText))
	}
}

// The file as it is to be; nil for one of another package.
func rewritten(path string, text []byte, number int) []byte {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, 0)
	if err != nil {
		fail(err)
	}
	if file.Name.Name != "main" && file.Name.Name != "main_test" {
		return nil
	}
	// Not as `//line` comments count.
	offset := func(pos token.Pos) int { return set.File(pos).Offset(pos) }
	var begun, deferred bytes.Buffer
	last := 0
	rename := func(name *ast.Ident, to string) {
		begun.Write(text[last:offset(name.Pos())])
		begun.WriteString(to)
		last = offset(name.End())
	}
	rename(file.Name, "kimg_"+file.Name.Name)
	for _, declaration := range file.Decls {
		switch it := declaration.(type) {
		case *ast.FuncDecl:
			if it.Recv == nil && it.Name.Name == "init" && !strings.HasSuffix(path, "_test.go") {
				name := fmt.Sprintf("kimgInit%d_%d", number, last)
				rename(it.Name, name)
				fmt.Fprintf(&deferred, "\nvar _ = kimgDefer(%s)\n", name)
			}
		case *ast.GenDecl:
			if it.Tok == token.VAR {
				refuseFlags(set, file, it)
			}
		}
	}
	begun.Write(text[last:])
	begun.Write(deferred.Bytes())
	return begun.Bytes()
}

// Ends with a word when a variable is set by a call of a package that keeps flags.
func refuseFlags(set *token.FileSet, file *ast.File, variables *ast.GenDecl) {
	ast.Inspect(variables, func(node ast.Node) bool {
		if _, inFunction := node.(*ast.FuncLit); inFunction {
			return false
		}
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		function, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		from, ok := function.X.(*ast.Ident)
		if ok && keepsFlags(file, from.Name) && function.Sel.Name != "NewFlagSet" {
			fail(set.Position(call.Pos()).String() + ": a variable of the package registers a flag")
		}
		return true
	})
}

// Whether a name in a file stands for a package of flags.
func keepsFlags(file *ast.File, name string) bool {
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil || (path != "flag" && !strings.HasSuffix(path, "/pflag")) {
			continue
		}
		if spec.Name != nil && spec.Name.Name == name || spec.Name == nil && filepath.Base(path) == name {
			return true
		}
	}
	return false
}

// Writes what takes the place of a file, and says so.
func replace(file, by string, text []byte) {
	if err := os.WriteFile(by, text, 0o644); err != nil {
		fail(err)
	}
	fmt.Printf("%s\t%s\n", file, by)
}

func fail(what ...interface{}) {
	fmt.Fprintln(os.Stderr, what...)
	os.Exit(1)
}
