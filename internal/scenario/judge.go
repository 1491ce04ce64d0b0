package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/itchyny/gojq"
)

// A Failure is one expectation that does not hold.
type Failure struct {
	Turn    int    // from 1; 0 for the whole of a conversation of several turns
	Check   string // the key of the expectation, such as "contains", or "reply" or "timeout"
	At      Place  // of the expectation in the test file
	Message string
	Want    string // "" when Message says it
	Got     string
}

// judge compares what happened with the expectations of a case.
func judge(ctx context.Context, c *Case, turns []Played) []Failure {
	j := &judgement{}
	sent := c.Sent()
	for i := range turns {
		last := i == len(turns)-1
		var own *Expect
		if i < len(sent) {
			own = &sent[i].Expect
		}
		j.turn = i + 1
		j.failed(&turns[i], own, &c.Expect, last, c.At)
		if own != nil {
			j.judge(ctx, own, &turns[i])
		}
	}
	if len(turns) > 0 {
		if len(sent) > 1 {
			j.turn = 0
		}
		j.judge(ctx, &c.Expect, sum(turns))
	}
	return j.failures
}

// sum is a whole conversation as if it were one turn: all calls, and the last reply.
func sum(turns []Played) *Played {
	all := turns[len(turns)-1]
	all.Calls, all.ModelCalls, all.InputTokens, all.OutputTokens, all.Duration = nil, 0, 0, 0, 0
	for _, t := range turns {
		all.Calls = append(all.Calls, t.Calls...)
		all.ModelCalls += t.ModelCalls
		all.InputTokens += t.InputTokens
		all.OutputTokens += t.OutputTokens
		all.Duration += t.Duration
	}
	return &all
}

// A judgement gathers failures.
type judgement struct {
	turn     int
	failures []Failure
}

func (j *judgement) fail(check string, at Place, want, got, format string, args ...any) {
	j.failures = append(j.failures, Failure{
		Turn: j.turn, Check: check, At: at, Message: fmt.Sprintf(format, args...), Want: clip(want), Got: clip(got),
	})
}

// failed notes a reply that is a failure when nobody expects one.
func (j *judgement) failed(p *Played, own, whole *Expect, last bool, at Place) {
	if p.Reply == nil || p.Reply.Performative != caxton.Failure || expectsFailure(own) || last && expectsFailure(whole) {
		return
	}
	message := "the agent failed"
	if p.Error != "" {
		message += ": " + p.Error
	}
	j.fail("reply", at, "", p.Reply.Text(), "%s", message)
}

func expectsFailure(e *Expect) bool {
	return e != nil && (e.Performative.Value != "" || e.ErrorCode.Value != "")
}

func (j *judgement) judge(ctx context.Context, e *Expect, p *Played) {
	j.reply(e, p)
	j.text(e, p)
	j.content(ctx, e, p)
	j.tools(e, p)
	j.limits(e, p)
}

func (j *judgement) reply(e *Expect, p *Played) {
	if e.NoReply.Value && p.Reply != nil {
		j.fail("no_reply", e.NoReply.At, "", p.Reply.Text(), "there is a reply")
	}
	if want := e.Performative; want.Value != "" {
		switch {
		case p.Reply == nil:
			j.fail("performative", want.At, string(want.Value), "", "there is no reply")
		case p.Reply.Performative != want.Value:
			j.fail("performative", want.At, string(want.Value), string(p.Reply.Performative), "the reply has another performative: %s", p.Reply.Text())
		}
	}
	if want := e.ErrorCode; want.Value != "" && p.Code != want.Value {
		got := p.Code
		if got == "" {
			got = "no error"
		}
		j.fail("error_code", want.At, want.Value, got, "the turn ends otherwise")
	}
}

func (j *judgement) text(e *Expect, p *Played) {
	if e.Equals.At == (Place{}) && len(e.Contains)+len(e.NotContains)+len(e.Matches) == 0 {
		return
	}
	if p.Reply == nil {
		j.fail("reply", e.textAt(), "", "", "there is no reply")
		return
	}
	text := p.Reply.Text()
	if want := strings.TrimSpace(e.Equals.Value); e.Equals.At != (Place{}) && strings.TrimSpace(text) != want {
		j.fail("equals", e.Equals.At, want, text, "the text of the reply is another")
	}
	for _, s := range e.Contains {
		if !strings.Contains(text, s.Value) {
			j.fail("contains", s.At, s.Value, text, "the text of the reply lacks %q", s.Value)
		}
	}
	for _, s := range e.NotContains {
		if strings.Contains(text, s.Value) {
			j.fail("not_contains", s.At, s.Value, text, "the text of the reply has %q in it", s.Value)
		}
	}
	for _, m := range e.Matches {
		if m.re != nil && !m.re.MatchString(text) {
			j.fail("matches", m.At, m.re.String(), text, "the text of the reply does not fit %s", m.re)
		}
	}
}

// textAt returns where the first expectation of the text stands.
func (e *Expect) textAt() Place {
	switch {
	case e.Equals.At != (Place{}):
		return e.Equals.At
	case len(e.Contains) > 0:
		return e.Contains[0].At
	case len(e.NotContains) > 0:
		return e.NotContains[0].At
	}
	return e.Matches[0].At
}

func (j *judgement) content(ctx context.Context, e *Expect, p *Played) {
	for i := range e.Content {
		c := &e.Content[i]
		if p.Reply == nil {
			j.fail("content", c.At, "", "", "there is no reply")
			return
		}
		doc := document(p.Reply.Content)
		values, err := c.Path.find(ctx, doc)
		if err != nil {
			j.fail("content", c.At, c.Path.text, printed(doc), "%s cannot be found: %v", c.Path.text, err)
			continue
		}
		if len(values) != 1 && (c.Exists == nil || *c.Exists) {
			j.fail("content", c.At, c.Path.text, printed(doc), "%s gives %d values instead of one", c.Path.text, len(values))
			continue
		}
		var got any
		if len(values) > 0 {
			got = values[0]
		}
		text := printed(got)
		if want := plain(c.Equals); c.Equals != nil && !equal(want, got) {
			j.fail("content", c.At, printed(want), text, "%s is another value", c.Path.text)
		}
		if c.Contains.Value != "" && !strings.Contains(text, c.Contains.Value) {
			j.fail("content", c.At, c.Contains.Value, text, "%s lacks %q", c.Path.text, c.Contains.Value)
		}
		if re := c.Matches.re; re != nil && !re.MatchString(text) {
			j.fail("content", c.At, re.String(), text, "%s does not fit %s", c.Path.text, re)
		}
		if c.Exists != nil && *c.Exists != (got != nil) {
			message := "%s is missing"
			if got != nil {
				message = "%s is there"
			}
			j.fail("content", c.At, "", text, message, c.Path.text)
		}
	}
}

// find returns what the query gives for a document, at most a hundred values.
func (p *Path) find(ctx context.Context, doc any) ([]any, error) {
	if p.code == nil {
		return nil, errors.New("there is no query")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var values []any
	for iter := p.code.RunWithContext(ctx, doc); len(values) < 100; {
		v, ok := iter.Next()
		if !ok {
			break
		}
		if err, bad := v.(error); bad {
			return nil, err
		}
		b, err := gojq.Marshal(v)
		if err != nil {
			return nil, err
		}
		values = append(values, decode(b))
	}
	return values, nil
}

func (j *judgement) tools(e *Expect, p *Played) {
	for i := range e.Tools {
		t := &e.Tools[i]
		n := 0
		for k := range p.Calls {
			if t.fits(&p.Calls[k]) {
				n++
			}
		}
		switch {
		case t.Times != nil && n != *t.Times:
			j.fail("tools", t.At, t.String(), calls(p), "%s was called %s, not %s", t, times(n), times(*t.Times))
		case t.Times == nil && n == 0:
			j.fail("tools", t.At, t.String(), calls(p), "%s was not called", t)
		}
	}
	if e.ToolsInOrder.Value {
		if missing := outOfOrder(e.Tools, p.Calls); missing != nil {
			j.fail("tools_in_order", missing.At, missing.String(), calls(p), "%s was not called after those before it", missing)
		}
	}
	if e.NoOtherTools.Value {
		for k := range p.Calls {
			c := &p.Calls[k]
			if !slices.ContainsFunc(e.Tools, func(t ToolCheck) bool { return t.fits(c) }) {
				j.fail("no_other_tools", e.NoOtherTools.At, "", c.String(), "%s was called", c)
			}
		}
	}
	for _, name := range e.NeverTools {
		for k := range p.Calls {
			if c := &p.Calls[k]; c.Tool == name.Value {
				j.fail("never_tools", name.At, "", c.String(), "%s was called", c)
				break
			}
		}
	}
}

// outOfOrder returns the first check whose calls do not come after those of the one before.
func outOfOrder(checks []ToolCheck, calls []Called) *ToolCheck {
	next := 0
	for i := range checks {
		need := 1
		if checks[i].Times != nil {
			need = *checks[i].Times
		}
		for need > 0 {
			if next == len(calls) {
				return &checks[i]
			}
			if checks[i].fits(&calls[next]) {
				need--
			}
			next++
		}
	}
	return nil
}

func (t *ToolCheck) fits(c *Called) bool {
	if c.Tool != t.Name || t.Fails != nil && *t.Fails != c.Failed {
		return false
	}
	if t.Arguments == nil {
		return true
	}
	want, got := plain(t.Arguments), decode(c.Arguments)
	if t.Exact {
		return equal(want, got)
	}
	return within(want, got)
}

// String prints a check like the call it wants.
func (t *ToolCheck) String() string {
	if t.Arguments == nil {
		return t.Name
	}
	if t.Exact {
		return t.Name + printed(t.Arguments)
	}
	return t.Name + strings.TrimSuffix(printed(t.Arguments), "}") + "…}"
}

// String prints a call on one line.
func (c *Called) String() string { return c.Tool + clip(string(c.Arguments)) }

func calls(p *Played) string {
	if len(p.Calls) == 0 {
		return "no calls"
	}
	all := make([]string, len(p.Calls))
	for i := range p.Calls {
		all[i] = p.Calls[i].String()
	}
	return strings.Join(all, ", ")
}

func times(n int) string {
	switch n {
	case 0:
		return "never"
	case 1:
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func (j *judgement) limits(e *Expect, p *Played) {
	for _, l := range []struct {
		check, what string
		most        Placed[*int]
		got         int
	}{
		{"max_tool_calls", "calls of tools", e.MaxToolCalls, len(p.Calls)},
		{"max_model_calls", "calls of the model", e.MaxModel, p.ModelCalls},
		{"max_tokens", "tokens", e.MaxTokens, p.InputTokens + p.OutputTokens},
	} {
		if l.most.Value != nil && l.got > *l.most.Value {
			j.fail(l.check, l.most.At, fmt.Sprint(*l.most.Value), fmt.Sprint(l.got), "%s: %d, and at most %d are allowed", l.what, l.got, *l.most.Value)
		}
	}
	if d := e.MaxDuration.Value.Std(); d > 0 && p.Duration > d {
		j.fail("max_duration", e.MaxDuration.At, d.String(), p.Duration.Round(time.Millisecond).String(), "it took longer than %s", d)
	}
}
