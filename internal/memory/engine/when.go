package engine

import (
	"strconv"
	"strings"
	"time"
)

// A span is the time that a question asks about. The zero span is none.
type span struct{ from, to time.Time }

func (s span) given() bool { return !s.to.IsZero() }

// times reads the time that a question asks about, and marks the words it is made of. It knows
// English and ISO 8601:
//
//	2024-03-05, 2024-03, 5 March 2024, March 5 2024, March 2024, in 2024
//	in March, last March: the last that has begun
//	yesterday, last week, last month, last year, 3 days ago, two months ago
//
// now, currently, today, nowadays, these days, at the moment and the like ask for what is so
// now; "up to now" does not.
func times(text string, words []word, now time.Time) (when span, current bool) {
	now = now.UTC()
	at := func(i int) string {
		if i < 0 || i >= len(words) {
			return ""
		}
		return words[i].folded
	}
	joined := func(i int) bool { // with the word before by a hyphen
		return i > 0 && i < len(words) && text[words[i-1].to:words[i].from] == "-"
	}
	take := func(s span, from, to int) {
		if !when.given() {
			when = s // the first of several
		}
		for i := from; i <= to; i++ {
			words[i].time = true
		}
	}
	for i := range words {
		w := at(i)
		year := yearOf(w)
		switch {
		case year > 0 && joined(i+1) && number(at(i+1)) > 0: // ISO
			m, end := number(at(i+1)), i+1
			s := monthSpan(year, time.Month(m))
			if d := number(at(i + 2)); joined(i+2) && d > 0 {
				s, end = daySpan(year, time.Month(m), d), i+2
			}
			if m <= 12 {
				take(s, i, end)
			}
		case monthOf(w) > 0:
			m := monthOf(w)
			before, after := number(ordinal(at(i-1))), number(ordinal(at(i+1)))
			switch {
			case before > 0 && before <= 31 && yearOf(at(i+1)) > 0:
				take(daySpan(yearOf(at(i+1)), m, before), i-1, i+1)
			case before > 0 && before <= 31 && at(i-1) != "":
				take(daySpan(pastYear(now, m), m, before), i-1, i)
			case after > 0 && after <= 31 && yearOf(at(i+2)) > 0:
				take(daySpan(yearOf(at(i+2)), m, after), i, i+2)
			case yearOf(at(i+1)) > 0:
				take(monthSpan(yearOf(at(i+1)), m), i, i+1)
			case at(i-1) == "last" || at(i-1) == "in" && words[i].capital:
				take(monthSpan(pastYear(now, m), m), i-1, i)
			}
		case year > 0 && (at(i-1) == "in" || at(i-1) == "during"):
			take(span{time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(year+1, 1, 1, 0, 0, 0, 0, time.UTC)}, i-1, i)
		case w == "yesterday":
			d := now.AddDate(0, 0, -1)
			take(daySpan(d.Year(), d.Month(), d.Day()), i, i)
		case at(i-1) == "last" && w != "":
			if s, ok := unitAgo(now, w, 1); ok {
				take(s, i-1, i)
			}
		case w == "ago" && i >= 2:
			if s, ok := unitAgo(now, strings.TrimSuffix(at(i-1), "s"), number(at(i-2))); ok {
				take(s, i-2, i)
			}
		case w == "now" && (at(i-1) == "to" || at(i-1) == "until" || at(i-1) == "till" || at(i-1) == "by"):
		case w == "now" || w == "nowadays" || w == "currently" || w == "today" || w == "presently" ||
			w == "days" && at(i-1) == "these" || w == "moment" && at(i-1) == "the" && at(i-2) == "at":
			current = true
			words[i].time = true
		}
	}
	return when, current
}

func monthOf(w string) time.Month {
	for m := time.January; m <= time.December; m++ {
		name := strings.ToLower(m.String())
		if w == name || len(w) == 3 && m != time.May && strings.HasPrefix(name, w) || w == "sept" && m == time.September {
			return m
		}
	}
	return 0
}

func yearOf(w string) int {
	if n := number(w); len(w) == 4 && n >= 1900 && n < 2200 {
		return n
	}
	return 0
}

// number reads a small number, 0 for none.
func number(w string) int {
	switch w {
	case "a", "an", "one":
		return 1
	case "two":
		return 2
	case "three":
		return 3
	case "four":
		return 4
	case "five":
		return 5
	case "six":
		return 6
	}
	if len(w) > 4 {
		return 0
	}
	n, err := strconv.Atoi(w)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// ordinal takes the end off "5th".
func ordinal(w string) string {
	for _, end := range [...]string{"st", "nd", "rd", "th"} {
		if n, ok := strings.CutSuffix(w, end); ok && n != "" && n[len(n)-1] >= '0' && n[len(n)-1] <= '9' {
			return n
		}
	}
	if w == "a" || w == "an" || w == "one" {
		return ""
	}
	return w
}

// pastYear is the year in which a month last began.
func pastYear(now time.Time, m time.Month) int {
	if m >= now.Month() {
		return now.Year() - 1
	}
	return now.Year()
}

func monthSpan(year int, m time.Month) span {
	from := time.Date(year, m, 1, 0, 0, 0, 0, time.UTC)
	return span{from, from.AddDate(0, 1, 0)}
}

func daySpan(year int, m time.Month, day int) span {
	from := time.Date(year, m, day, 0, 0, 0, 0, time.UTC)
	return span{from, from.AddDate(0, 0, 1)}
}

// unitAgo is the day, week, month or year that lies n back.
func unitAgo(now time.Time, unit string, n int) (span, bool) {
	if n < 1 || n > 1000 {
		return span{}, false
	}
	switch unit {
	case "day", "night":
		d := now.AddDate(0, 0, -n)
		return daySpan(d.Year(), d.Month(), d.Day()), true
	case "week":
		monday := now.AddDate(0, 0, -(int(now.Weekday())+6)%7-7*n)
		s := daySpan(monday.Year(), monday.Month(), monday.Day())
		return span{s.from, s.from.AddDate(0, 0, 7)}, true
	case "month":
		first := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC).AddDate(0, -n, 0)
		return monthSpan(first.Year(), first.Month()), true
	case "year":
		return span{time.Date(now.Year()-n, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(now.Year()-n+1, 1, 1, 0, 0, 0, 0, time.UTC)}, true
	}
	return span{}, false
}
