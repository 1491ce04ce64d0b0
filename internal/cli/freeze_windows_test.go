package cli_test

import "github.com/rogpeppe/go-internal/testscript"

// freeze is never called: Windows cannot stop a process in its tracks.
func freeze(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("not on Windows") }
