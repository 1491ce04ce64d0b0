package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the machine that tests may have no zones

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agentfile"
	"github.com/caxton/caxton/internal/schedule"
	"pgregory.net/rapid"
)

func parse(t interface {
	Helper()
	Fatal(args ...any)
}, expression, zone string,
) *schedule.Cron {
	t.Helper()
	c, err := schedule.Parse(expression, zone)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNext follows schedules through the days on which the clocks change. Times are local,
// with their offset from UTC.
func TestNext(t *testing.T) {
	const berlin, newYork = "Europe/Berlin", "America/New_York"
	tests := []struct {
		name, cron, zone, after string
		want                    string // the next times
	}{
		{"weekdays", "0 9 * * MON-FRI", "UTC", "2026-01-02T09:00Z", "01-05T09:00Z 01-06T09:00Z"},
		{"Sunday is 0 and 7", "0 9 * * 7", "", "2026-01-02T09:00Z", "01-04T09:00Z 01-11T09:00Z"},
		{"day of month or of week", "0 0 13 * FRI", "UTC", "2026-02-28T00:00Z", "03-06T00:00Z 03-13T00:00Z 03-20T00:00Z"},
		{"steps and lists", "5,*/20 8-9 * jan,3 *", "UTC", "2026-01-31T09:06Z", "01-31T09:20Z 01-31T09:40Z 03-01T08:00Z 03-01T08:05Z"},
		{"leap day", "0 0 29 2 *", "UTC", "2096-03-01T00:00Z", "02-29T00:00Z"}, // 2100 has none
		{"a time already begun", "30 9 * * *", "UTC", "2026-01-02T09:30:59Z", "01-03T09:30Z"},

		{
			"Berlin, forward, in the hour that is skipped", "30 2 * * *", berlin, "2026-03-28T12:00+01:00",
			"03-29T03:00+02:00 03-30T02:30+02:00",
		},
		{
			"Berlin, forward, before and after it", "30 1,3 * * *", berlin, "2026-03-29T00:00+01:00",
			"03-29T01:30+01:00 03-29T03:30+02:00 03-30T01:30+02:00",
		},
		{
			"Berlin, forward, several in it are one", "*/10 2 * * *", berlin, "2026-03-29T00:00+01:00",
			"03-29T03:00+02:00 03-30T02:00+02:00 03-30T02:10+02:00",
		},
		{
			"Berlin, forward, in it and at its end are one", "0 2,3 * * *", berlin, "2026-03-29T00:00+01:00",
			"03-29T03:00+02:00 03-30T02:00+02:00",
		},
		{
			"Berlin, forward, each half hour", "*/30 * * * *", berlin, "2026-03-29T01:00+01:00",
			"03-29T01:30+01:00 03-29T03:00+02:00 03-29T03:30+02:00",
		},
		{
			"Berlin, back, in the hour that comes twice", "30 2 * * *", berlin, "2026-10-24T12:00+02:00",
			"10-25T02:30+02:00 10-26T02:30+01:00",
		},
		{"Berlin, back, after it", "0 3 * * *", berlin, "2026-10-25T00:00+02:00", "10-25T03:00+01:00 10-26T03:00+01:00"},
		{
			"Berlin, back, several in it come once", "0,30 2,3 * * *", berlin, "2026-10-25T00:00+02:00",
			"10-25T02:00+02:00 10-25T02:30+02:00 10-25T03:00+01:00 10-25T03:30+01:00",
		},
		{
			"Berlin, back, each half hour", "*/30 * * * *", berlin, "2026-10-25T02:00+02:00",
			"10-25T02:30+02:00 10-25T02:00+01:00 10-25T02:30+01:00 10-25T03:00+01:00",
		},
		{"Berlin, back, asked in the second hour", "30 2 * * *", berlin, "2026-10-25T02:10+01:00", "10-26T02:30+01:00"},

		{
			"New York, forward, in the hour that is skipped", "30 2 * * *", newYork, "2026-03-07T12:00-05:00",
			"03-08T03:00-04:00 03-09T02:30-04:00",
		},
		{
			"New York, forward, each hour", "0 * * * *", newYork, "2026-03-08T00:30-05:00",
			"03-08T01:00-05:00 03-08T03:00-04:00 03-08T04:00-04:00",
		},
		{
			"New York, back, in the hour that comes twice", "30 1 * * *", newYork, "2026-10-31T12:00-04:00",
			"11-01T01:30-04:00 11-02T01:30-05:00",
		},
		{
			"New York, back, each hour", "0 */1 * * *", newYork, "2026-11-01T00:30-04:00",
			"11-01T01:00-04:00 11-01T01:00-05:00 11-01T02:00-05:00",
		},

		{
			"midnight that is skipped", "0 0 * * *", "Africa/Cairo", "2026-04-23T12:00+02:00",
			"04-24T01:00+03:00 04-25T00:00+03:00",
		},
		{
			"a change of half an hour", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00+10:30",
			"10-04T02:30+11:00 10-05T02:15+11:00",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := parse(t, tt.cron, tt.zone)
			loc, err := time.LoadLocation(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse("2006-01-02T15:04Z07:00", tt.after)
			if err != nil {
				if at, err = time.Parse(time.RFC3339, tt.after); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for range strings.FieldsSeq(tt.want) {
				at = c.Next(at)
				got = append(got, at.In(loc).Format("01-02T15:04Z07:00"))
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("%s in %s after %s\n got %s\nwant %s", tt.cron, tt.zone, tt.after, s, tt.want)
			}
		})
	}
	if at := parse(t, "0 0 30 2 *", "").Next(time.Now()); !at.IsZero() {
		t.Errorf("30 February is %v", at)
	}
}

func TestParseFaults(t *testing.T) {
	for _, tt := range []struct{ cron, zone, code string }{
		{"0 9 * *", "", "cron_invalid"},
		{"0 24 * * *", "", "cron_invalid"},
		{"@daily", "", "cron_invalid"},
		{"CRON_TZ=UTC 0 9 * *", "", "cron_invalid"},
		{"", "", "cron_invalid"},
		{"0 9 * * *", "Europe/Atlantis", "timezone_unknown"},
		{"0 9 * * *", "Local", "timezone_unknown"},
	} {
		_, err := schedule.Parse(tt.cron, tt.zone)
		if kind := caxton.KindOf(err); kind != caxton.Invalid || !strings.Contains(fmt.Sprintf("%#v", err), tt.code) {
			t.Errorf("Parse(%q, %q) = %v, want Invalid %s", tt.cron, tt.zone, err, tt.code)
		}
	}
}

// expression draws a cron expression, sometimes one that is none.
func expression() *rapid.Generator[string] {
	field := func(low, high int, words ...string) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			number := func() string {
				n := rapid.IntRange(low, high).Draw(t, "number")
				if n-low < len(words) && rapid.Bool().Draw(t, "word") {
					return words[n-low]
				}
				return fmt.Sprint(n)
			}
			item := func() string {
				span := "*"
				switch rapid.IntRange(0, 3).Draw(t, "form") {
				case 1:
					span = number()
				case 2:
					span = number() + "-" + number()
				}
				if rapid.IntRange(0, 3).Draw(t, "step") == 0 {
					span += fmt.Sprintf("/%d", rapid.IntRange(1, high).Draw(t, "by"))
				}
				return span
			}
			s := item()
			for range rapid.IntRange(0, 2).Draw(t, "more") {
				s += "," + item()
			}
			return s
		})
	}
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join([]string{
			field(0, 59).Draw(t, "minute"), field(0, 23).Draw(t, "hour"), field(1, 31).Draw(t, "day"),
			field(1, 12, "jan", "FEB", "mar").Draw(t, "month"), field(0, 7, "sun", "Mon", "tue").Draw(t, "weekday"),
		}, " ")
	})
}

// TestGrammar: what the check of agent files accepts can be scheduled, and what it says never
// comes does not.
func TestGrammar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := expression().Draw(t, "expression")
		if rapid.Bool().Draw(t, "days of months only") { // where there may be no such day
			e = fmt.Sprintf("0 0 %d,%s %d *", rapid.IntRange(28, 31).Draw(t, "day"), rapid.SampledFrom([]string{"30", "29-31", "31", "30/1"}).Draw(t, "days"),
				rapid.IntRange(1, 12).Draw(t, "month"))
		}
		_, issues := agentfile.Parse("a.yaml", []byte("name: A\ncapabilities: [a]\nsystem_prompt: x\nschedule: {cron: \""+e+"\"}\n"), "", agentfile.Options{})
		fault := agentfile.Err("a.yaml", issues)
		never := fault != nil && strings.Contains(fault.Error(), "never comes")
		if fault != nil && !never {
			t.Skip("not accepted")
		}
		c, err := schedule.Parse(e, "")
		if err != nil {
			t.Fatal(err)
		}
		if c.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() != never {
			t.Fatalf("%s: the check says that it never comes: %t", e, never)
		}
	})
}

// TestNextSearch holds Next to a search minute by minute where the clocks do not change.
func TestNextSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := expression().Draw(t, "expression")
		c, err := schedule.Parse(e, "Asia/Tokyo")
		if err != nil {
			t.Skip("not an expression")
		}
		tokyo := time.FixedZone("", 9*3600)
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, tokyo).Add(time.Duration(rapid.IntRange(0, 500*24*60).Draw(t, "minutes")) * time.Minute)
		want, fits := at.Add(time.Minute), rule(e)
		for end := at.AddDate(0, 0, 10); !fits(want); want = want.Add(time.Minute) {
			if want.After(end) {
				if got := c.Next(at); !got.IsZero() && !got.After(end) {
					t.Fatalf("Next(%v) = %v, which does not fit %s", at, got.In(tokyo), e)
				}
				return
			}
		}
		if got := c.Next(at); !got.Equal(want) {
			t.Fatalf("%s: Next(%v) = %v, want %v", e, at, got.In(tokyo), want)
		}
	})
}

// rule returns whether a time fits an expression: as crontab(5) states it.
func rule(e string) func(t time.Time) bool {
	f := strings.Fields(strings.NewReplacer("jan", "1", "feb", "2", "mar", "3", "sun", "0", "mon", "1", "tue", "2").Replace(strings.ToLower(e)))
	var sets [5][60]bool
	for i, ends := range [5][2]int{{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 7}} {
		for n := ends[0]; n <= ends[1]; n++ {
			sets[i][n] = in(f[i], n, ends[0], ends[1])
		}
	}
	sets[4][0] = sets[4][0] || sets[4][7]
	either := !star(f[2]) && !star(f[4])
	return func(t time.Time) bool {
		day, weekday := sets[2][t.Day()], sets[4][t.Weekday()]
		days := day && weekday || either && (day || weekday)
		return days && sets[0][t.Minute()] && sets[1][t.Hour()] && sets[3][t.Month()]
	}
}

// star reports whether a field leaves every value open.
func star(field string) bool {
	for item := range strings.SplitSeq(field, ",") {
		if item == "*" || item == "*/1" {
			return true
		}
	}
	return false
}

func in(field string, n, low, high int) bool {
	for item := range strings.SplitSeq(field, ",") {
		span, by, stepped := strings.Cut(item, "/")
		from, to, step := low, high, 1
		if span != "*" {
			a, b, ranged := strings.Cut(span, "-")
			_, _ = fmt.Sscan(a, &from)
			if ranged {
				_, _ = fmt.Sscan(b, &to)
			} else if !stepped {
				to = from
			}
		}
		if stepped {
			_, _ = fmt.Sscan(by, &step)
		}
		wrapped := n
		if to < from && n < from { // 22-2
			wrapped = n + high - low + 1
		}
		if to < from {
			to += high - low + 1
		}
		if wrapped >= from && wrapped <= to && (wrapped-from)%step == 0 {
			return true
		}
	}
	return false
}

// FuzzNext: whatever the expression, the zone and the time, the next time is later, on a whole
// minute, and the same when asked again from just before it.
func FuzzNext(f *testing.F) {
	f.Add("30 2 * * *", "Europe/Berlin", int64(1774738800))
	f.Add("*/5 * * * *", "America/New_York", int64(1793512800))
	f.Add("0 0 29 2 MON", "Pacific/Apia", int64(1325203200))
	f.Add("0 0 31 2 *", "Africa/Casablanca", int64(1e9))
	f.Fuzz(func(t *testing.T, expression, zone string, unix int64) {
		c, err := schedule.Parse(expression, zone)
		if err != nil {
			return
		}
		at := time.Unix(unix%4e9, 0)
		if unix%4e9 < 0 {
			return // before 1970 zones had offsets of seconds
		}
		next := c.Next(at)
		if next.IsZero() {
			return
		}
		if !next.After(at) || !next.Equal(next.Truncate(time.Minute)) {
			t.Fatalf("%q in %q: Next(%v) = %v", expression, zone, at, next)
		}
		if again := c.Next(next.Add(-time.Second)); !again.Equal(next) {
			t.Fatalf("%q in %q: Next(%v) = %v, but just before that %v", expression, zone, at, next, again)
		}
	})
}
