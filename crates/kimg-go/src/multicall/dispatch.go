// One program that is several: it is the one by whose name it is started, or that its first argument names.
package main

import (
	"flag"
	"os"
	"strings"
	// imports
)

type program struct {
	name       string
	init, main func()
	// The packages that others of the programs have and it has not, each on a line.
	lacks string
}

var programs = []program{
	// programs
}

// In variables of the package, since what a program does before its main has to be done before this one's main too: on
// the thread that the process began with.
var chosen = choose()

func choose() *program {
	if found := named(os.Args[0][strings.LastIndexByte(os.Args[0], '/')+1:]); found != nil {
		return found
	}
	if len(os.Args) > 1 {
		if found := named(os.Args[1]); found != nil {
			os.Args = os.Args[1:]
			return found
		}
	}
	return nil
}

func named(name string) *program {
	for place := range programs {
		if programs[place].name == name {
			return &programs[place]
		}
	}
	return nil
}

func init() {
	if chosen != nil {
		flag.KimgStart(chosen.lacks)
		chosen.init()
	}
}

func main() {
	if chosen == nil {
		var names []string
		for _, it := range programs {
			names = append(names, it.name)
		}
		os.Stderr.WriteString("this is one program for " + strings.Join(names, ", ") +
			": start it by one of these names, or with one as its first argument\n")
		os.Exit(2)
	}
	chosen.main()
}
