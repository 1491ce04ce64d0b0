package schedule

import (
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/netresearch/go-cron"
)

// A Cron is a cron expression in a time zone. It is immutable.
//
// The library reads the expression and searches the calendar, in plain wall-clock time. What
// happens when the clocks change is decided here, as cron has done since Vixie's: an
// expression that names its hours means times of day, so a time that the clocks skip is run
// once, at the moment they skip it, and a time that comes twice is run the first time only.
// An expression whose hour field begins with * means an interval, and follows the clock: what
// is skipped is skipped, what comes twice is run twice.
type Cron struct {
	spec *cron.SpecSchedule // in wall-clock time, as if it were UTC
	loc  *time.Location
	day  bool // the hours are named: times of day, not an interval
}

// searchYears is how far ahead a time is looked for: 29 February can be eight years away.
const searchYears = 9

// Parse reads an expression of five fields and the name of a zone, "" for UTC. When both the
// day of the month and the day of the week are given, a day fits when either does (POSIX).
func Parse(expression, zone string) (*Cron, error) {
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return nil, caxton.Errorf(caxton.Invalid, "timezone_unknown", "%q is not a time zone", zone).
			WithHint("use an IANA name such as Europe/Vienna or UTC").WithCause(err)
	}
	fields := strings.Fields(expression)
	invalid := caxton.Errorf(caxton.Invalid, "cron_invalid", "%q is not a cron expression", expression).
		WithHint("write minute, hour, day of the month, month, day of the week, as in 0 9 * * MON-FRI")
	if len(fields) != 5 {
		return nil, invalid
	}
	parser, err := cron.TryNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom)
	if err != nil {
		return nil, invalid.WithCause(err)
	}
	s, err := parser.WithMaxSearchYears(searchYears).Parse(strings.Join(fields, " "))
	if err != nil {
		return nil, invalid.WithCause(err)
	}
	spec, ok := s.(*cron.SpecSchedule)
	if !ok {
		return nil, invalid
	}
	spec.Location = time.UTC
	return &Cron{spec, loc, !strings.HasPrefix(fields[1], "*")}, nil
}

// Next returns the first time after t that fits, in UTC, or the zero time when there is none
// within nine years.
func (c *Cron) Next(t time.Time) time.Time {
	at := t.Truncate(time.Minute).Add(time.Minute)
	limit := t.AddDate(searchYears, 0, 0)
	for at.Before(limit) { // one turn for each stretch between two changes of the clocks
		start, end := at.In(c.loc).ZoneBounds()
		offset := offsetAt(at, c.loc)
		from := at.UTC().Add(offset)
		if c.day && !start.IsZero() {
			before := offsetAt(start.Add(-time.Second), c.loc)
			skipped, resumed := start.UTC().Add(before), start.UTC().Add(offset) // wall-clock times
			if at.Equal(start) && offset > before {
				if w := c.fits(skipped); !w.IsZero() && w.Before(resumed) {
					return start.UTC()
				}
			}
			if offset < before && from.Before(skipped) {
				from = skipped // up to here the times have come before
			}
		}
		wall := c.fits(from)
		if wall.IsZero() {
			return time.Time{}
		}
		if next := wall.Add(-offset); end.IsZero() || next.Before(end) {
			return next
		}
		at = end
	}
	return time.Time{}
}

// fits returns the first wall-clock time from the given one on that the expression means.
func (c *Cron) fits(from time.Time) time.Time { return c.spec.Next(from.Add(-time.Second)) }

// between returns the times after the first and up to the second: how many, and the latest of
// them, at most keep, oldest first. It counts to countMost and then goes on near the end, so
// that years of absence do not hold up the start.
func (c *Cron) between(after, until time.Time, keep int) (latest []time.Time, n int) {
	for t := c.Next(after); !t.IsZero() && !t.After(until); t = c.Next(t) {
		if n < countMost {
			if n++; n == countMost {
				if r := c.recent(until); r.After(t) {
					latest, t = nil, r
				}
			}
		}
		if latest = append(latest, t); len(latest) >= 2*keep {
			latest = append(latest[:0], latest[len(latest)-keep:]...)
		}
	}
	return latest[max(0, len(latest)-keep):], n
}

// countMost is how many missed runs are counted.
const countMost = 10_000

// recent returns the first time in the shortest of some periods before until that has one.
func (c *Cron) recent(until time.Time) time.Time {
	for _, d := range []time.Duration{2 * time.Hour, 2 * 24 * time.Hour, 35 * 24 * time.Hour} {
		if t := c.Next(until.Add(-d)); !t.IsZero() && !t.After(until) {
			return t
		}
	}
	return c.Next(until.AddDate(-searchYears, 0, 0))
}

func offsetAt(t time.Time, loc *time.Location) time.Duration {
	_, seconds := t.In(loc).Zone()
	return time.Duration(seconds) * time.Second
}
