// Makes packages of commands importable, so that one program can hold several of them.
//
//	rewrite FOLDER KIND=PACKAGE...
//
// Nothing is written into the packages: what takes the place of their files goes to FOLDER, and a line for each is printed,
// the file, a tab, and what takes its place. Every line of theirs stays where it is. The kinds are
//
//   - main, a command's. Its name is no longer `main`, which nothing may import; each `init` has a name of its own and is
//     deferred, so that it runs when this program is the one that was started, and not for the others (which files belong to a
//     build is for go to say, so each file registers its own, in their order); KimgInit runs those, and KimgMain runs `main`;
//   - flag, that of Go's library, and pflag, that of spf13. Their flags of the command line are noted with the package that
//     registers them before any main runs, and those stay that the started program would have alone.
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

var furtherTexts = map[string]string{"main": ofMain, "flag": ofFlag, "pflag": ofPflag}

const ofMain = `package kimg_main

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

const ofFlag = `package flag

import (
	"runtime"
	"strings"
)

type kimgFlag struct {
	set  *FlagSet
	flag *Flag
	by   string
}

type kimgSetting struct {
	set             *FlagSet
	name, value, by string
}

var (
	kimgFlags   []kimgFlag
	kimgSets    []kimgSetting
	kimgOthers  []func(lacks func(by string) bool)
	kimgStarted bool
)

// Notes a flag of the command line that is registered before a program is chosen. Of two with one name the first can be
// looked up until then.
func kimgRegister(set *FlagSet, value Value, name, usage string) bool {
	if kimgStarted || set != CommandLine {
		return false
	}
	made := &Flag{Name: name, Usage: usage, Value: value, DefValue: value.String()}
	kimgFlags = append(kimgFlags, kimgFlag{set, made, KimgBy()})
	if set.formal == nil {
		set.formal = make(map[string]*Flag)
	}
	if _, there := set.formal[name]; !there {
		set.formal[name] = made
	}
	return true
}

// Notes what a flag is set to for which there are several, each another program's: which one is meant is known then.
func kimgSet(set *FlagSet, name, value string) bool {
	count := 0
	for _, it := range kimgFlags {
		if it.set == set && it.flag.Name == name {
			count++
		}
	}
	if count > 1 {
		kimgSets = append(kimgSets, kimgSetting{set, name, value, KimgBy()})
	}
	return count > 1
}

// KimgOther is told when a program is chosen.
func KimgOther(other func(lacks func(by string) bool)) (none struct{}) {
	kimgOthers = append(kimgOthers, other)
	return
}

// KimgStart takes those flags away that were registered by packages which the chosen program lacks, each on a line of its own.
func KimgStart(packages string) {
	kimgStarted = true
	lacks := func(by string) bool { return by != "" && strings.Contains(packages, "\n"+by+"\n") }
	for _, it := range kimgFlags {
		it.set.formal = make(map[string]*Flag)
	}
	for _, it := range kimgFlags {
		if lacks(it.by) {
			if it.set.actual[it.flag.Name] == it.flag {
				delete(it.set.actual, it.flag.Name)
			}
			continue
		}
		if _, twice := it.set.formal[it.flag.Name]; twice {
			panic("flag redefined: " + it.flag.Name)
		}
		it.set.formal[it.flag.Name] = it.flag
	}
	for _, other := range kimgOthers {
		other(lacks)
	}
	kimgFlags, kimgOthers = nil, nil
	for _, it := range kimgSets {
		if !lacks(it.by) {
			it.set.Set(it.name, it.value)
		}
	}
}

// KimgBy is the package whose variables are being set, or whose init runs.
func KimgBy() (by string) {
	callers := make([]uintptr, 256)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	for {
		frame, more := frames.Next()
		begin := strings.LastIndexByte(frame.Function, '/') + 1
		if dot := strings.IndexByte(frame.Function[begin:], '.'); dot >= 0 {
			name := frame.Function[begin+dot+1:]
			if name == "init" || strings.HasPrefix(name, "init.") {
				// The linker's way to write a dot in the last part of a path.
				by = strings.Replace(frame.Function[:begin+dot], "%2e", ".", -1)
			}
		}
		if !more {
			return by
		}
	}
}
`

const ofPflag = `package pflag

import kimgflag "flag"

type kimgFlag struct {
	flag *Flag
	by   string
}

var (
	kimgFlags   []kimgFlag
	kimgStarted bool
	_           = kimgflag.KimgOther(kimgStart)
)

// Notes a flag of the command line that is registered before a program is chosen; gives whether its name or letter is taken.
func kimgRegister(set *FlagSet, flag *Flag) bool {
	if kimgStarted || set != CommandLine {
		return false
	}
	kimgFlags = append(kimgFlags, kimgFlag{flag, kimgflag.KimgBy()})
	letter := len(flag.Shorthand) == 1 && set.shorthands[flag.Shorthand[0]] != nil
	return letter || set.formal[set.normalizeFlagName(flag.Name)] != nil
}

func kimgStart(lacks func(by string) bool) {
	kimgStarted = true
	set := CommandLine
	set.formal, set.orderedFormal, set.sortedFormal, set.shorthands = nil, nil, nil, nil
	for _, it := range kimgFlags {
		if !lacks(it.by) {
			set.AddFlag(it.flag)
		}
	}
	kimgFlags = nil
}
`

func main() {
	if len(os.Args) < 3 {
		fail("usage: rewrite FOLDER KIND=PACKAGE...")
	}
	for place, argument := range os.Args[2:] {
		kind, folder, _ := cut(argument, "=")
		text, known := furtherTexts[kind]
		if !known {
			fail("no kind of package:", kind)
		}
		rewritePackage(kind, folder, filepath.Join(os.Args[1], strconv.Itoa(place)+"-"), text)
	}
}

func rewritePackage(kind, folder, prefix, furtherText string) {
	files, err := os.ReadDir(folder)
	if err != nil {
		fail(err)
	}
	count := 0
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
		if kind == "main" {
			text = ofCommand(path, text, number)
		} else {
			hooked := 0
			text, hooked = withHooks(kind, path, text)
			count += hooked
		}
		if text != nil {
			replace(path, prefix+file.Name(), text)
		}
	}
	if count < least[kind] {
		fail("the package in", folder, "has another way to register flags")
	}
	replace(filepath.Join(folder, further), prefix+further, []byte(furtherText))
}

func parsed(path string, text []byte) (*ast.File, func(token.Pos) int) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, 0)
	if err != nil {
		fail(err)
	}
	// Not as `//line` comments count.
	return file, func(pos token.Pos) int { return set.File(pos).Offset(pos) }
}

// A file of a command as it is to be; nil for one of another package.
func ofCommand(path string, text []byte, number int) []byte {
	file, offset := parsed(path, text)
	if file.Name.Name != "main" && file.Name.Name != "main_test" {
		return nil
	}
	var begun, deferred bytes.Buffer
	last := 0
	rename := func(name *ast.Ident, to string) {
		begun.Write(text[last:offset(name.Pos())])
		begun.WriteString(to)
		last = offset(name.End())
	}
	rename(file.Name, "kimg_"+file.Name.Name)
	for _, declaration := range file.Decls {
		it, ok := declaration.(*ast.FuncDecl)
		if ok && it.Recv == nil && it.Name.Name == "init" && !strings.HasSuffix(path, "_test.go") {
			name := fmt.Sprintf("kimgInit%d_%d", number, last)
			rename(it.Name, name)
			fmt.Fprintf(&deferred, "\nvar _ = kimgDefer(%s)\n", name)
		}
	}
	begun.Write(text[last:])
	begun.Write(deferred.Bytes())
	return begun.Bytes()
}

// What is asked first in methods of a set of flags, by the package's kind and the method.
var hooks = map[string]map[string]string{
	"flag": {
		"Var": "if kimgRegister(%s, %s) { return };",
		"Set": "if kimgSet(%s, %s) { return nil };",
		// What Set has been calling since Go 1.21, as others do.
		"set": "if kimgSet(%s, %s) { return nil };",
	},
	"pflag": {"AddFlag": "if kimgRegister(%s, %s) { return };"},
}

// How many of these a package has at least.
var least = map[string]int{"main": 0, "flag": 2, "pflag": 1}

// A file of a package of flags with its hooks, and how many; nil for one without any.
func withHooks(kind, path string, text []byte) ([]byte, int) {
	if strings.HasSuffix(path, "_test.go") {
		return nil, 0
	}
	file, offset := parsed(path, text)
	var changed bytes.Buffer
	last, count := 0, 0
	for _, declaration := range file.Decls {
		it, ok := declaration.(*ast.FuncDecl)
		if !ok || it.Recv == nil || len(it.Recv.List[0].Names) != 1 || it.Body == nil {
			continue
		}
		hook, wanted := hooks[kind][it.Name.Name]
		star, ok := it.Recv.List[0].Type.(*ast.StarExpr)
		if !wanted || !ok || fmt.Sprint(star.X) != "FlagSet" {
			continue
		}
		var names []string
		for _, field := range it.Type.Params.List {
			for _, name := range field.Names {
				names = append(names, name.Name)
			}
		}
		begin := offset(it.Body.Lbrace) + 1
		changed.Write(text[last:begin])
		fmt.Fprintf(&changed, hook, it.Recv.List[0].Names[0].Name, strings.Join(names, ", "))
		last = begin
		count++
	}
	if count == 0 {
		return nil, 0
	}
	changed.Write(text[last:])
	return changed.Bytes(), count
}

// As strings.Cut, which came with Go 1.18.
func cut(text, by string) (string, string, bool) {
	if at := strings.Index(text, by); at >= 0 {
		return text[:at], text[at+len(by):], true
	}
	return text, "", false
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
