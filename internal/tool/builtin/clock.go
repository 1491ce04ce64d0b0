package builtin

import (
	"context"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // zones are known where the system has no list of them, as in a bare container

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/itchyny/timefmt-go"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
)

type clock struct {
	spec tool.Spec
	now  func() time.Time
}

type clockArgs struct {
	Timezone string `json:"timezone,omitempty" jsonschema:"IANA name of a time zone, such as Europe/Berlin; UTC unless given."`
	Format   string `json:"format,omitempty" jsonschema:"A format as of strftime, such as %d.%m.%Y %H:%M, in which to give the time besides the usual forms."`
}

// clockResult is the Data of clock.
type clockResult struct {
	Time      string `json:"time"` // RFC 3339
	Weekday   string `json:"weekday"`
	Unix      int64  `json:"unix"`
	Timezone  string `json:"timezone"`
	Week      int    `json:"iso_week"`
	DayOfYear int    `json:"day_of_year"`
	Formatted string `json:"formatted,omitempty"`
}

func newClock(cfg Config) (tool.Tool, error) {
	c := &clock{now: cfg.Now}
	if c.now == nil {
		c.now = time.Now
	}
	var err error
	c.spec, err = specOf[clockArgs]("clock",
		"Tell the current date and time, the weekday and the Unix time, in any time zone.",
		func(p map[string]*jsonschema.Schema) {
			p["timezone"].MaxLength, p["format"].MaxLength = new(64), new(200)
		})
	c.spec.Idempotent = true
	return c, err
}

// Spec describes the tool.
func (c *clock) Spec() tool.Spec { return c.spec }

// Call tells the time.
func (c *clock) Call(_ context.Context, call tool.Call) (tool.Result, error) {
	var a clockArgs
	if err := decode(c.spec.Name, call.Args, &a); err != nil {
		return tool.Result{}, err
	}
	zone, err := time.LoadLocation(strings.TrimSpace(a.Timezone))
	if err != nil {
		return tool.Result{}, caxton.Errorf(caxton.Invalid, "timezone_unknown", "%.64q is not a time zone", a.Timezone).
			WithHint("use an IANA name such as UTC, Europe/Berlin or America/New_York").WithCause(err)
	}
	now := c.now().In(zone)
	_, week := now.ISOWeek()
	r := clockResult{
		Time: now.Format(time.RFC3339), Weekday: now.Weekday().String(), Unix: now.Unix(), Timezone: zone.String(),
		Week: week, DayOfYear: now.YearDay(),
	}
	text := fmt.Sprintf("%s %s\nunix: %d\ntimezone: %s", r.Weekday, r.Time, r.Unix, r.Timezone)
	if a.Format != "" {
		r.Formatted = timefmt.Format(now, a.Format)
		text = r.Formatted + "\n" + text
	}
	data, err := encode(r)
	return tool.Result{Text: text, Data: data}, err
}
