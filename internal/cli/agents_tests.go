package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/caxton/caxton/internal/node"
	"github.com/caxton/caxton/internal/scenario"
	"github.com/spf13/cobra"
)

// testFlags are the flags of agents test.
type testFlags struct {
	input, run, junit, dir string
	drop, delay, fail      []string
	local, record, network bool
	parallel               int
}

func newAgentsTest(env *Env) *cobra.Command {
	var f testFlags
	c := &cobra.Command{
		Use: "test [PATH|AGENT]...", Short: "Run the test files beside agents, or try an agent with one input",
		Long: "Runs test files: greeter.test.yaml beside greeter.md. A PATH is a test file, an agent's file, or a directory;\n" +
			"without one it is the agents directory. The agent runs on the real parts of the server, over a journal in memory;\n" +
			"neither a server nor data is needed. The exit code is 0 when all cases pass, 1 when one does not, and 2 when a file\n" +
			"has faults; then nothing is run.\n\n" +
			"With --input it sends the agent one text and shows the reply and all that happened: on the server, or here when\n" +
			"no server answers, when PATH is a file, or with --local.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("input") {
				return tryAgent(cmd.Context(), env, &f, args)
			}
			return runTests(cmd.Context(), env, &f, args)
		},
	}
	c.Annotations = map[string]string{sortKey: "Needs no server. With --input and the name of an agent it asks one, when one answers."}
	c.Flags().StringVar(&f.input, "input", "", "send this `text` instead of running tests")
	c.Flags().BoolVar(&f.local, "local", false, "with --input: here, not on the server")
	c.Flags().StringVar(&f.dir, "agents-dir", "", "`directory` of agent files (default: the configured one)")
	c.Flags().StringVar(&f.run, "run", "", "only cases whose FILE/NAME fits this regular `expression`")
	c.Flags().IntVar(&f.parallel, "parallel", 0, "play this `number` of cases at once (default: one for each processor)")
	c.Flags().StringVar(&f.junit, "junit", "", "also write the results to this `file` as JUnit XML")
	c.Flags().BoolVar(&f.record, "record", false, "ask the agents' real models, and write their answers to the cassettes")
	c.Flags().BoolVar(&f.network, "network", false, "tools without a stub may reach the network")
	c.Flags().StringArrayVar(&f.drop, "drop-tool", nil, "take this `tool` away from every agent")
	c.Flags().StringArrayVar(&f.delay, "delay", nil, "have calls of a tool come late: `TOOL=2s`")
	c.Flags().StringArrayVar(&f.fail, "error", nil, "have calls of a tool fail: `TOOL=MESSAGE`; TOOL:2=MESSAGE only the first two")
	return c
}

// chaos reads the flags that make things go wrong.
func (f *testFlags) chaos() (scenario.Chaos, error) {
	var c scenario.Chaos
	for _, name := range f.drop {
		c.DropTool = append(c.DropTool, scenario.Placed[string]{Value: name})
	}
	for _, s := range f.delay {
		name, text, _ := strings.Cut(s, "=")
		d, err := caxton.ParseDuration(text)
		if err != nil || name == "" || d == 0 {
			return c, errUsage("--delay %q is not a tool and a duration", s).WithHint("write it like --delay http_client=2s")
		}
		c.Delay = append(c.Delay, scenario.Delay{Tool: scenario.Placed[string]{Value: name}, By: caxton.Duration(d)})
	}
	for _, s := range f.fail {
		name, text, _ := strings.Cut(s, "=")
		name, number, counted := strings.Cut(name, ":")
		n, err := strconv.Atoi(number)
		if name == "" || counted && (err != nil || n < 1) {
			return c, errUsage("--error %q is not a tool and a message", s).WithHint(`write it like --error http_client="out of order", or --error http_client:2=…`)
		}
		c.Error = append(c.Error, scenario.Fault{Tool: scenario.Placed[string]{Value: name}, Message: text, Times: n})
	}
	return c, nil
}

// bench returns what cases are played on, with the configuration of this machine.
// The directory is the one of the agents.
func (f *testFlags) bench(env *Env) (bench *node.Bench, dir string, err error) {
	chaos, err := f.chaos()
	if err != nil {
		return nil, "", err
	}
	loaded, layout, err := env.locate()
	if err != nil {
		return nil, "", err
	}
	dir = layout.Agents
	if f.dir != "" {
		dir = env.path(f.dir)
	}
	return node.NewBench(loaded, node.BenchOptions{Environ: env.Environ, Chaos: chaos, Record: f.record, Network: f.network}), dir, nil
}

func runTests(ctx context.Context, env *Env, f *testFlags, args []string) error {
	var only *regexp.Regexp
	if f.run != "" {
		var err error
		if only, err = regexp.Compile(f.run); err != nil {
			return errUsage("--run %q is not a regular expression", f.run).WithHint("a part of a name will do: --run greets")
		}
	}
	switch {
	case f.parallel < 0 || f.parallel > 1000:
		return errUsage("--parallel %d is not between 1 and 1000", f.parallel)
	case f.record && f.run != "":
		return errUsage("--record and --run do not go together").WithHint("a cassette is recorded whole; name the test file instead")
	case f.local:
		return errUsage("--local goes with --input").WithHint("tests always run here")
	}
	bench, dir, err := f.bench(env)
	if err != nil {
		return err
	}
	files, err := testFiles(env, dir, args)
	if err != nil {
		return err
	}
	suites, err := bench.Load(ctx, files...)
	if err != nil {
		return err
	}
	cfg := scenario.RunConfig{Only: only, Parallel: f.parallel}
	if f.record {
		cfg.Parallel = 1 // the order of a cassette shall not change by itself
	}
	over := func() {}
	if terminal(env.Stderr) && env.getenv("TERM") != "dumb" {
		cfg.Progress, over = progress(env.Stderr)
	}
	report, err := scenario.Run(ctx, suites, bench, cfg)
	over()
	if err != nil {
		return err
	}
	if f.record {
		paths, err := bench.Recorded()
		if err != nil {
			printTestReport(env, report)
			return err
		}
		for _, p := range paths {
			env.say("recorded %s", p)
		}
		if len(paths) == 0 {
			env.say("nothing was recorded: no case of a test file with a cassette asked a model")
		}
	}
	if f.junit != "" {
		if err := writeJUnit(env.path(f.junit), report); err != nil {
			return err
		}
	}
	if err := env.Print(testReport(report), func(p *printer) { printReport(p, report) }); err != nil {
		return err
	}
	if !report.OK() {
		return exitCode(1)
	}
	return nil
}

// progress returns what writes one line about how far the tests are, over and over, and what
// takes it away.
func progress(w io.Writer) (told func(*scenario.Result), over func()) {
	const erase = "\r\x1b[K"
	done, bad := 0, 0
	told = func(r *scenario.Result) {
		done++
		if r.Status == scenario.Failed || r.Status == scenario.Errored {
			bad++
		}
		_, _ = fmt.Fprintf(w, "%s%d done, %d not passed: %s", erase, done, bad, short(r.Suite.Name()+"/"+r.Case.Name))
	}
	return told, func() { _, _ = io.WriteString(w, erase) }
}

// testFiles returns the test files that the arguments mean.
func testFiles(env *Env, dir string, args []string) ([]string, error) {
	var paths []string
	for _, a := range args {
		path := env.path(a)
		if _, err := os.Stat(path); err != nil {
			found, ferr := agentNamed(dir, a)
			if ferr != nil {
				return nil, ferr
			}
			path = found
		}
		paths = append(paths, shown(path))
	}
	if len(args) == 0 {
		paths = []string{shown(dir)}
	}
	return scenario.Find(paths...)
}

// agentNamed returns the file of the agents directory whose stem, or slug of it, is the name.
func agentNamed(dir, name string) (string, error) {
	files, err := agentFiles(dir)
	if err == nil {
		for _, f := range files {
			stem := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))
			if strings.EqualFold(stem, name) || caxton.Slug(stem) == caxton.Slug(name) {
				return f, nil
			}
		}
	}
	return "", caxton.Errorf(caxton.NotFound, "path_not_found", "there is no file, directory or agent %s", name).
		WithHint("name a test file, an agent's file, a directory, or an agent of %s", shown(dir))
}

// shown returns a path as seen from the working directory of the process, when it is below.
func shown(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return path
	}
	return rel
}

func writeJUnit(path string, report *scenario.Report) (err error) {
	f, err := os.Create(path) //nolint:gosec // the user's own path
	if err == nil {
		err = errors.Join(report.WriteJUnit(f), f.Close())
	}
	if err != nil {
		return caxton.Errorf(caxton.Unavailable, "junit_unwritable", "the file %s cannot be written", path).
			WithHint("check that its directory is there and may be written").WithCause(err)
	}
	return nil
}

// printTestReport says on the standard error how the cases went.
func printTestReport(env *Env, report *scenario.Report) {
	p := &printer{w: env.Stderr}
	printReport(p, report)
	_ = p.flush() // the error that follows matters more
}

func mark(s scenario.Status) string {
	switch s {
	case scenario.Passed:
		return "PASS "
	case scenario.Failed:
		return "FAIL "
	case scenario.Errored:
		return "ERROR"
	case scenario.Skipped:
		return "SKIP "
	}
	return string(s)
}

func printReport(p *printer, r *scenario.Report) {
	for i := range r.Results {
		res := &r.Results[i]
		note := res.Duration.Round(100 * time.Microsecond).String()
		if res.Status == scenario.Skipped {
			note = res.Case.Skip
		}
		p.line("%s  %s/%s (%s)", mark(res.Status), res.Suite.Name(), res.Case.Name, note)
		for _, l := range res.Lines() {
			p.line("  %s", strings.ReplaceAll(l, "\n", "\n  "))
		}
	}
	sum := []string{fmt.Sprintf("%d passed", r.Passed)}
	for _, n := range []struct {
		number int
		what   string
	}{{r.Failed, "failed"}, {r.Errored, "could not be played"}, {r.Skipped, "skipped"}} {
		if n.number > 0 {
			sum = append(sum, fmt.Sprintf("%d %s", n.number, n.what))
		}
	}
	p.line("%s in %s", strings.Join(sum, ", "), r.Duration.Round(time.Millisecond))
}

func testReport(r *scenario.Report) api.TestReport {
	out := api.TestReport{
		Passed: r.Passed, Failed: r.Failed, Errors: r.Errored, Skipped: r.Skipped, Millis: millis(r.Duration), Items: []api.TestCase{},
	}
	for i := range r.Results {
		res := &r.Results[i]
		c := api.TestCase{
			File: res.Suite.Path, Line: res.Case.At.Line, Suite: res.Suite.Name(), Name: res.Case.Name, Status: string(res.Status),
			Failures: []api.TestFailure{}, Turns: []api.TestTurn{}, Millis: millis(res.Duration),
		}
		switch {
		case res.Status == scenario.Skipped:
			c.Reason = res.Case.Skip
		case res.Err != nil:
			c.Reason = strings.Join(res.Lines(), "\n")
		}
		for _, f := range res.Failures {
			c.Failures = append(c.Failures, api.TestFailure{
				Turn: f.Turn, Check: f.Check, Line: f.At.Line, Column: f.At.Column, Message: f.Message, Want: f.Want, Got: f.Got,
			})
		}
		for k := range res.Turns {
			c.Turns = append(c.Turns, testTurn(&res.Turns[k]))
		}
		out.Items = append(out.Items, c)
	}
	return out
}

func testTurn(t *scenario.Played) api.TestTurn {
	out := api.TestTurn{
		Input: t.Input, Outcome: string(t.Outcome), Code: t.Code, Attempts: t.Attempts, ToolCalls: []api.TestToolCall{},
		ModelCalls: t.ModelCalls, InputTokens: t.InputTokens, OutputTokens: t.OutputTokens, Millis: millis(t.Duration),
	}
	if t.Reply != nil {
		out.Performative, out.Text, out.Content = string(t.Reply.Performative), t.Reply.Text(), t.Reply.Content
	}
	for _, c := range t.Calls {
		out.ToolCalls = append(out.ToolCalls, api.TestToolCall{Tool: c.Tool, Arguments: c.Arguments, Failed: c.Failed, Result: c.Result})
	}
	return out
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// tryAgent sends an agent one input: on the server, or here.
func tryAgent(ctx context.Context, env *Env, f *testFlags, args []string) error {
	switch {
	case len(args) != 1:
		return errUsage("--input goes with one agent").WithHint("caxton agents test AGENT --input TEXT")
	case f.input == "":
		return errUsage("--input is empty").WithHint("say what to send: --input TEXT")
	case f.run != "" || f.junit != "" || f.record:
		return errUsage("--input does not go with --run, --junit or --record").WithHint("they are for test files")
	}
	st, err := os.Stat(env.path(args[0]))
	chaotic := len(f.drop)+len(f.delay)+len(f.fail) > 0
	if f.local || chaotic || err == nil && !st.IsDir() {
		return tryHere(ctx, env, f, args[0])
	}
	var r api.TestRun
	if err = env.connect(); err == nil {
		r, err = env.Client().Test(ctx, args[0], f.input)
	}
	named := env.flags.server + env.flags.socket + env.flags.dataDir + env.getenv("CAXTON_SERVER")
	if e, ok := errors.AsType[*caxton.Error](err); ok && e.Code == "server_unreachable" && named == "" {
		if herr := tryHere(ctx, env, f, args[0]); caxton.KindOf(herr) != caxton.NotFound {
			return herr
		}
	}
	if err != nil {
		return err
	}
	return printTry(env, r)
}

func printTry(env *Env, r api.TestRun) error {
	if err := env.Print(r, func(p *printer) {
		for _, rec := range r.Records {
			if rec.Kind != string(caxton.RecordMessage) {
				p.row("#", rec.Kind, summary(rec))
			}
		}
		p.line("%s", r.Reply.Text)
	}); err != nil {
		return err
	}
	if r.Reply.Performative == string(caxton.Failure) {
		return exitCode(1)
	}
	return nil
}

// tryHere plays one input without a server, with the agent's configured model and tools.
func tryHere(ctx context.Context, env *Env, f *testFlags, ref string) error {
	f.network = true
	bench, dir, err := f.bench(env)
	if err != nil {
		return err
	}
	path := env.path(ref)
	if st, serr := os.Stat(path); serr != nil || st.IsDir() {
		if path, err = agentNamed(dir, ref); err != nil {
			return err
		}
	}
	s := &scenario.Suite{
		Agent: scenario.Placed[string]{Value: path}, Model: scenario.Placed[string]{Value: scenario.ModelConfigured}, Network: true,
		Timeout: caxton.Duration(5 * time.Minute),
		Cases:   []scenario.Case{{Name: "input", Input: scenario.Content{Value: f.input, Given: true}}},
	}
	issues, err := bench.Add(ctx, s)
	if err == nil {
		err = scenario.Err(issues)
	}
	if err != nil {
		return err
	}
	env.say("no server takes part: %s runs here", shown(path))
	turns, err := bench.Play(ctx, s, &s.Cases[0])
	if err != nil {
		return err
	}
	t := &turns[0]
	r := api.TestRun{Records: []api.Record{}, Millis: millis(t.Duration)}
	if m := t.Reply; m != nil {
		r.Reply = api.Reply{
			MessageID: string(m.ID), Performative: string(m.Performative), Sender: m.Sender, Content: m.Content, Text: m.Text(),
			InReplyTo: m.InReplyTo, Timestamp: m.CreatedAt.UTC(),
		}
	}
	for _, rec := range t.Records {
		r.Records = append(r.Records, api.Record{
			Seq: rec.Seq, At: rec.At.UTC(), Kind: string(rec.Kind), MessageID: string(rec.MessageID), AgentID: string(rec.AgentID), Body: rec.Body,
		})
	}
	return printTry(env, r)
}
