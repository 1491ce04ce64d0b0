package scenario

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"runtime"
	"sync"
	"time"

	"github.com/caxton/caxton"
)

// A Stage plays cases on real parts. The bench of internal/node provides it.
type Stage interface {
	// Play sends the inputs of a case, each when the turn before it is over, and returns what
	// happened, one Played a turn. It returns promptly when ctx ends, with the turns so far
	// and an error; an error says that the case could not be played, not that it failed.
	Play(ctx context.Context, s *Suite, c *Case) ([]Played, error)
}

// Played is what happened in one turn.
type Played struct {
	Input        string
	Reply        *caxton.Message // nil without a reply
	Outcome      caxton.Outcome  // "" while it is not settled
	Code         string          // of the error, when it failed
	Error        string
	Calls        []Called
	ModelCalls   int
	InputTokens  int
	OutputTokens int
	Attempts     int
	Duration     time.Duration
	Records      []caxton.Record // all of it, as the journal has it
}

// Called is one call of a tool.
type Called struct {
	Tool      string
	Arguments json.RawMessage
	Returned  bool // false when the turn ended before the call did
	Failed    bool
	Result    string // what the model read
}

// Read fills in what the records of a turn tell.
func (p *Played) Read(records []caxton.Record) error {
	p.Records = records
	byID := map[string]int{}
	notRun := map[int]bool{}
	for _, r := range records {
		var err error
		switch string(r.Kind) { // kinds that tell nothing here are passed over
		case string(caxton.RecordModelCalled):
			var b caxton.ModelCalledBody
			err = json.Unmarshal(r.Body, &b)
			p.ModelCalls++
			p.InputTokens += b.InputTokens
			p.OutputTokens += b.OutputTokens
		case string(caxton.RecordToolIntended):
			var b caxton.ToolIntendedBody
			err = json.Unmarshal(r.Body, &b)
			byID[b.CallID] = len(p.Calls)
			p.Calls = append(p.Calls, Called{Tool: b.Tool, Arguments: b.Arguments})
		case string(caxton.RecordToolReturned):
			var b caxton.ToolReturnedBody
			err = json.Unmarshal(r.Body, &b)
			if i, ok := byID[b.CallID]; ok {
				c := &p.Calls[i]
				c.Returned, c.Failed, c.Result = true, b.IsError, b.Text
				notRun[i] = b.NotRun
			}
		case string(caxton.RecordSettled):
			var b caxton.SettledBody
			err = json.Unmarshal(r.Body, &b)
			p.Outcome, p.Code, p.Error, p.Attempts = b.Outcome, b.Code, b.Error, b.Attempt
		}
		if err != nil {
			return caxton.Errorf(caxton.Internal, "journal_unreadable", "a record of the turn cannot be read").WithCause(err)
		}
	}
	made := p.Calls[:0]
	for i := range p.Calls {
		if !notRun[i] {
			made = append(made, p.Calls[i])
		}
	}
	p.Calls = made
	return nil
}

// A Status says how a case ended.
type Status string

// The statuses.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"  // an expectation does not hold
	Errored Status = "error"   // it could not be played
	Skipped Status = "skipped" // the file says so
)

// A Result is how one case went.
type Result struct {
	Suite    *Suite
	Case     *Case
	Status   Status
	Failures []Failure
	Err      error // why it could not be played
	Turns    []Played
	Duration time.Duration
}

// A Report is how all cases went, in the order of the suites and their files.
type Report struct {
	Results                          []Result
	Passed, Failed, Errored, Skipped int
	Duration                         time.Duration
}

// OK reports whether no case failed.
func (r *Report) OK() bool { return r.Failed+r.Errored == 0 }

// RunConfig tunes Run. Zero fields mean the defaults given here.
type RunConfig struct {
	Only     *regexp.Regexp // only cases whose SUITE/NAME fits; nil means all
	Parallel int            // cases at once: the number of processors
	Progress func(*Result)  // told of each case when it is over, never by two at once; may be nil
}

// Run plays the cases of the suites and compares what happened with what is expected. When
// ctx ends it returns what there is, and Canceled. NotFound means that no case was chosen: a
// run that tests nothing is no success.
func Run(ctx context.Context, suites []*Suite, stage Stage, cfg RunConfig) (*Report, error) {
	cfg.Parallel = cmp.Or(cfg.Parallel, runtime.GOMAXPROCS(0))
	rep := &Report{}
	for _, s := range suites {
		for i := range s.Cases {
			if c := &s.Cases[i]; cfg.Only == nil || cfg.Only.MatchString(s.Name()+"/"+c.Name) {
				rep.Results = append(rep.Results, Result{Suite: s, Case: c})
			}
		}
	}
	if len(rep.Results) == 0 {
		err := caxton.Errorf(caxton.NotFound, "tests_not_found", "there are no cases")
		if cfg.Only != nil {
			err = caxton.Errorf(caxton.NotFound, "tests_not_found", "no case fits %q", cfg.Only.String()).WithHint("a case is called FILE/NAME, such as greeter/greets by name")
		}
		return nil, err
	}
	start := time.Now()
	slots := make(chan struct{}, max(1, cfg.Parallel))
	var mu sync.Mutex // of Progress
	var wg sync.WaitGroup
	for i := range rep.Results {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r := &rep.Results[i]
			r.play(ctx, stage)
			if cfg.Progress != nil {
				mu.Lock()
				defer mu.Unlock()
				cfg.Progress(r)
			}
		})
	}
	wg.Wait()
	rep.Duration = time.Since(start)
	for i := range rep.Results {
		switch rep.Results[i].Status {
		case Passed:
			rep.Passed++
		case Failed:
			rep.Failed++
		case Errored:
			rep.Errored++
		case Skipped:
			rep.Skipped++
		}
	}
	if ctx.Err() != nil {
		return rep, caxton.Errorf(caxton.Canceled, "canceled", "the tests were interrupted").WithCause(ctx.Err())
	}
	return rep, nil
}

// play plays one case and judges it.
func (r *Result) play(ctx context.Context, stage Stage) {
	if r.Case.Skip != "" {
		r.Status = Skipped
		return
	}
	limit := r.Suite.Lasts(r.Case)
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	r.Turns, r.Err = stage.Play(within, r.Suite, r.Case)
	r.Duration = time.Since(start)
	switch {
	case r.Err != nil && ctx.Err() == nil && errors.Is(within.Err(), context.DeadlineExceeded):
		r.Err, r.Status = nil, Failed
		r.Failures = []Failure{{
			Turn: len(r.Turns), Check: "timeout", At: r.Case.At,
			Message: "the case was not over within " + caxton.Duration(limit).String(),
		}}
	case r.Err != nil:
		r.Status = Errored
	default:
		r.Status = Passed
		if r.Failures = judge(ctx, r.Case, r.Turns); len(r.Failures) > 0 {
			r.Status = Failed
		}
	}
}

// Sent returns the turns of a case: its own, or its one input.
func (c *Case) Sent() []Turn {
	if len(c.Turns) > 0 {
		return c.Turns
	}
	return []Turn{{Input: c.Input, Performative: c.Performative}}
}

// JSON returns the content as a message carries it.
func (c *Content) JSON() (json.RawMessage, error) {
	if s, ok := c.Value.(string); ok {
		return caxton.TextContent(s), nil
	}
	b, err := json.Marshal(c.Value)
	if err != nil {
		return nil, caxton.Errorf(caxton.Invalid, "content_invalid", "the input cannot be written as JSON").WithCause(err)
	}
	return b, nil
}
