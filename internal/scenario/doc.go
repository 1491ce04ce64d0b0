// Package scenario tests agents. It owns the form of a test file, what an expectation means,
// the stubs and the chaos that stand between an agent and its tools and its model, and the
// reports; it refuses to be an engine: whoever plays a case uses the real parts.
//
// A test file stands beside its agent: greeter.test.yaml beside greeter.md. Parse reads it
// into a Suite and reports every fault at once, with line, column and remedy. Run hands each
// Case to a Stage, which sends the inputs, one message a turn, to the agent under test and
// returns what happened; Run compares that with the expectations. Case.Tools wraps the real
// tools so that stubs answer in their place, calls come late or fail, and nothing reaches the
// network; Case.Model does the same for the model.
//
// internal/node has the Stage: router, memory journal, supervisor and prompt handler, made
// anew for each case. internal/cli finds the files, prints the Report, and writes it for
// continuous integration with WriteJUnit. Run plays several cases at once, each on a
// goroutine of its own, and waits for all of them.
package scenario
