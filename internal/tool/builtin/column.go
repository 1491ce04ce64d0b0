package builtin

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The types of columns.
const (
	typeInteger = "integer"
	typeNumber  = "number"
	typeBoolean = "boolean"
	typeDate    = "date"
	typeText    = "text"
	typeEmpty   = "empty"
)

const (
	maxDistinct = 1000 // different values that a column remembers
	maxListed   = 10   // columns with no more different values list them
	maxKey      = 64   // bytes of a value that is remembered as it is
)

// A column gathers what a table says in one column, in one pass and bounded memory.
type column struct {
	name         string
	decimalComma bool

	count   int // cells with a value, without those in absent
	missing int // empty cells
	absent  int // cells such as "NA": missing in a column of numbers or dates, a value among words

	integers, numbers int // numbers: those that are not whole
	oddCell           string
	oddRow            int // the first cell with a value that is not a number, and its row

	sum              sum
	minInt, maxInt   int64
	minFloat         float64
	maxFloat         float64
	booleans         int
	booleanFamilies  int
	dates            []dates // by layout; nil before the first value
	distinct         map[string]int
	distinctOverflow bool
	budget           *int // shared by all columns of a table
}

func newColumn(name string, decimalComma bool, budget *int) *column {
	return &column{name: name, decimalComma: decimalComma, distinct: map[string]int{}, budget: budget}
}

// add takes the cell of a row in; rows count from 1.
func (c *column) add(cell string, row int) {
	s := strings.TrimSpace(cell)
	if s == "" {
		c.missing++
		return
	}
	c.remember(s)
	if notAvailable(s) {
		c.absent++
		return
	}
	c.count++
	c.addDate(s)
	if family := booleanFamily(s); family != 0 {
		c.booleans++
		c.booleanFamilies |= family
	}
	if n, ok := parseInteger(s); ok {
		c.integers++
		if c.integers == 1 || n < c.minInt {
			c.minInt = n
		}
		if c.integers == 1 || n > c.maxInt {
			c.maxInt = n
		}
		c.addNumber(float64(n))
		return
	}
	if f, ok := parseNumber(s, c.decimalComma); ok {
		c.numbers++
		c.addNumber(f)
		return
	}
	if c.oddRow == 0 {
		c.oddCell, c.oddRow = cut(s, maxCell), row
	}
}

func (c *column) addNumber(f float64) {
	first := c.integers+c.numbers == 1
	if first || f < c.minFloat {
		c.minFloat = f
	}
	if first || f > c.maxFloat {
		c.maxFloat = f
	}
	c.sum.add(f)
}

func (c *column) remember(s string) {
	key := s
	if len(s) > maxKey { // long values are told apart by a hash; a clash is as good as impossible
		h := fnv.New128a()
		h.Write([]byte(s))
		key = fmt.Sprintf("%s…%x", cut(s, maxKey/2), h.Sum(nil))
	}
	if n, ok := c.distinct[key]; ok {
		c.distinct[key] = n + 1
		return
	}
	if len(c.distinct) >= maxDistinct || *c.budget == 0 {
		c.distinctOverflow = true
		return
	}
	*c.budget--
	c.distinct[strings.Clone(key)] = 1
}

// describe returns what the column is, and a warning when it is almost something else.
func (c *column) describe() (described csvColumn, warning string) {
	d := csvColumn{
		Name: c.name, Count: c.count, Missing: c.missing + c.absent,
		Distinct: len(c.distinct), DistinctCapped: c.distinctOverflow,
	}
	numbers := c.integers + c.numbers
	switch layout, isDate := c.dateLayout(); {
	case c.count == 0:
		d.Type = typeEmpty
	case numbers == c.count:
		mean := c.sum.mean(numbers)
		d.Type, d.Mean, d.Min, d.Max = typeNumber, &mean, c.minFloat, c.maxFloat
		if c.numbers == 0 {
			d.Type, d.Min, d.Max = typeInteger, c.minInt, c.maxInt
		}
	case c.booleans == c.count && c.oneBooleanFamily():
		d.Type = typeBoolean
		d.Values = c.values()
	case isDate:
		d.Type, d.Min, d.Max = typeDate, layout.minText, layout.maxText
		if layout.ambiguous {
			warning = fmt.Sprintf("%s: the dates could be month/day/year or day/month/year and were read as month/day/year", oneLine(c.name))
		}
	default:
		d.Type, d.Count, d.Missing = typeText, c.count+c.absent, c.missing
		if d.Distinct <= maxListed && !d.DistinctCapped {
			d.Values = c.values()
		}
		if odd := c.count - numbers; numbers*10 >= c.count*9 {
			warning = fmt.Sprintf("%s: %d of %s is not a number, first %q in row %d; the column was read as text", oneLine(c.name), odd, count(c.count, "value"), c.oddCell, c.oddRow)
		}
	}
	if d.Type != typeText && c.absent > 0 { // what stands for a missing value is not a value
		for key := range c.distinct {
			if notAvailable(key) {
				d.Distinct--
			}
		}
		d.Values = slices.DeleteFunc(d.Values, func(v csvValue) bool { return notAvailable(v.Value) })
	}
	return d, warning
}

// values lists the different values, the most frequent first.
func (c *column) values() []csvValue {
	all := make([]csvValue, 0, len(c.distinct))
	for value, n := range c.distinct {
		all = append(all, csvValue{value, n})
	}
	slices.SortFunc(all, func(a, b csvValue) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value))
	})
	return all
}

// A sum adds up numbers so that rounding errors do not add up too. Numbers so large that
// their sum could overflow are added up apart, scaled by a power of two.
type sum struct{ usual, huge compensated }

const (
	hugeFrom  = 1e290
	hugeScale = 1 << 60
)

func (s *sum) add(f float64) {
	if max(f, -f) < hugeFrom {
		s.usual.add(f)
	} else {
		s.huge.add(f / hugeScale)
	}
}

// mean returns the mean of the n numbers added, n above 0.
func (s *sum) mean(n int) float64 {
	return s.usual.value()/float64(n) + s.huge.value()/float64(n)*hugeScale
}

// A compensated sum keeps what each addition loses by rounding (Neumaier's method).
type compensated struct{ total, lost float64 }

func (c *compensated) add(f float64) {
	t := c.total + f
	if max(c.total, -c.total) >= max(f, -f) {
		c.lost += (c.total - t) + f
	} else {
		c.lost += (f - t) + c.total
	}
	c.total = t
}

func (c *compensated) value() float64 { return c.total + c.lost }

// sortOf returns the type of one cell.
func sortOf(cell string) string {
	s := strings.TrimSpace(cell)
	if s == "" || notAvailable(s) {
		return typeEmpty
	}
	if _, ok := parseInteger(s); ok {
		return typeInteger
	}
	if _, ok := parseNumber(s, true); ok {
		return typeNumber
	}
	if family := booleanFamily(s); family == familyTrue || family == familyYes {
		return typeBoolean
	}
	for _, layout := range dateLayouts() {
		if _, ok := parseDate(layout, s); ok {
			return typeDate
		}
	}
	return typeText
}

// notAvailable reports whether a cell says in words that there is no value.
func notAvailable(s string) bool {
	if len(s) < 2 || len(s) > 4 {
		return false
	}
	switch strings.ToLower(s) {
	case "na", "n/a", "#n/a", "nan", "null", "nil", "none":
		return true
	}
	return false
}

// parseInteger reads a whole number. Leading zeros make an identifier of it, not a number.
func parseInteger(s string) (int64, bool) {
	if !plain(s) || strings.ContainsAny(s, ".eE") {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// parseNumber reads a number with a decimal point, or a decimal comma where that is in use.
func parseNumber(s string, decimalComma bool) (float64, bool) {
	if decimalComma && strings.Count(s, ",") == 1 && !strings.Contains(s, ".") {
		s = strings.Replace(s, ",", ".", 1)
	}
	if !plain(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// plain reports whether s has the form of a decimal number: a sign, digits without a leading
// zero, a point, an exponent. It keeps out what strconv reads besides: hexadecimal numbers,
// underscores, infinities.
func plain(s string) bool {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		s = s[1:]
	}
	if len(s) == 0 || len(s) > 1 && s[0] == '0' && s[1] >= '0' && s[1] <= '9' {
		return false
	}
	digits := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '.':
		case (c == 'e' || c == 'E') && digits > 0:
		case (c == '-' || c == '+') && i > 0 && (s[i-1] == 'e' || s[i-1] == 'E'):
		default:
			return false
		}
	}
	return digits > 0
}

// The families of truth values. The values of one column come from one of them.
const (
	familyTrue = 1 << iota
	familyYes
	familyT
	familyF
	familyY
	familyN
)

func booleanFamily(s string) int {
	if len(s) > 5 {
		return 0
	}
	switch strings.ToLower(s) {
	case "true", "false":
		return familyTrue
	case "yes", "no":
		return familyYes
	case "t":
		return familyT
	case "f":
		return familyF
	case "y":
		return familyY
	case "n":
		return familyN
	}
	return 0
}

// oneBooleanFamily reports whether the truth values seen go together. Single letters only do
// when both of a pair occur: a column of nothing but "f" may as well be about women.
func (c *column) oneBooleanFamily() bool {
	switch c.booleanFamilies {
	case familyTrue, familyYes, familyT | familyF, familyY | familyN:
		return true
	}
	return false
}

// dates are the values of a column as far as they are dates in one layout.
type dates struct {
	layout           string
	alive            bool // every value so far is
	min, max         time.Time
	minText, maxText string // as they stand in the table
	ambiguous        bool
}

const (
	monthFirst = "1/2/2006"
	dayFirst   = "2/1/2006"
)

// dateLayouts returns the forms of dates that are known, the clearest first.
func dateLayouts() []string {
	return []string{
		time.DateOnly, time.RFC3339, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02 15:04:05Z07:00",
		"2006/01/02", "2006/01/02 15:04:05", "2006-01", monthFirst, dayFirst, "1/2/2006 15:04", "2/1/2006 15:04", "2.1.2006", "2.1.2006 15:04",
		"Jan 2, 2006", "January 2, 2006", "Jan 2 2006", "2 Jan 2006", "2 January 2006", "02-Jan-2006", "Jan 2006", time.RFC1123,
	}
}

func parseDate(layout, s string) (time.Time, bool) {
	if len(s) < 6 || len(s) > 40 || s[0] < '0' {
		return time.Time{}, false
	}
	if word := layout[0] > '9'; word != (s[0] > '9') {
		return time.Time{}, false
	}
	t, err := time.Parse(layout, s)
	return t, err == nil
}

func (c *column) addDate(s string) {
	if c.dates == nil {
		c.dates = []dates{}
		for _, layout := range dateLayouts() {
			if t, ok := parseDate(layout, s); ok {
				text := strings.Clone(s)
				c.dates = append(c.dates, dates{layout: layout, alive: true, min: t, max: t, minText: text, maxText: text})
			}
		}
		return
	}
	for i := range c.dates {
		d := &c.dates[i]
		if !d.alive {
			continue
		}
		t, ok := parseDate(d.layout, s)
		switch {
		case !ok:
			d.alive = false
		case t.Before(d.min):
			d.min, d.minText = t, strings.Clone(s)
		case t.After(d.max):
			d.max, d.maxText = t, strings.Clone(s)
		}
	}
}

// dateLayout returns the first layout that all values have.
func (c *column) dateLayout() (dates, bool) {
	alive := slices.DeleteFunc(slices.Clone(c.dates), func(d dates) bool { return !d.alive })
	if len(alive) == 0 {
		return dates{}, false
	}
	alive[0].ambiguous = alive[0].layout == monthFirst && slices.ContainsFunc(alive, func(d dates) bool { return d.layout == dayFirst })
	return alive[0], true
}
