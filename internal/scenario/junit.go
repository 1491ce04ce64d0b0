package scenario

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/caxton/caxton"
)

// The form of JUnit, as far as continuous integration reads it.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		File     string      `xml:"file,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name      string       `xml:"name,attr"`
		Classname string       `xml:"classname,attr"`
		File      string       `xml:"file,attr"`
		Line      int          `xml:"line,attr,omitempty"`
		Time      string       `xml:"time,attr"`
		Failure   *junitFault  `xml:"failure"`
		Error     *junitFault  `xml:"error"`
		Skipped   *junitReason `xml:"skipped"`
	}
	junitFault struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
	junitReason struct {
		Message string `xml:"message,attr"`
	}
)

// WriteJUnit writes the report as JUnit XML: a testsuite for each test file.
func (r *Report) WriteJUnit(w io.Writer) error {
	out := junitSuites{
		Name: "caxton agents test", Tests: len(r.Results), Failures: r.Failed, Errors: r.Errored, Skipped: r.Skipped, Time: seconds(r.Duration),
	}
	var total time.Duration
	for i := range r.Results {
		res := &r.Results[i]
		if i == 0 || res.Suite != r.Results[i-1].Suite {
			total = 0
			out.Suites = append(out.Suites, junitSuite{Name: res.Suite.Name(), File: res.Suite.Path})
		}
		s := &out.Suites[len(out.Suites)-1]
		total += res.Duration
		s.Time = seconds(total)
		s.Tests++
		c := junitCase{Name: res.Case.Name, Classname: res.Suite.Name(), File: res.Suite.Path, Line: res.Case.At.Line, Time: seconds(res.Duration)}
		switch res.Status {
		case Failed:
			s.Failures++
			c.Failure = &junitFault{Message: res.Failures[0].Message, Type: res.Failures[0].Check, Text: strings.Join(res.Lines(), "\n")}
		case Errored:
			s.Errors++
			c.Error = &junitFault{Message: message(res.Err), Type: string(caxton.KindOf(res.Err)), Text: message(res.Err)}
		case Skipped:
			s.Skipped++
			c.Skipped = &junitReason{res.Case.Skip}
		case Passed:
		}
		s.Cases = append(s.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

// Lines says why the case did not pass, for people: each failure on a line, with its place,
// then what was wanted and what was got.
func (r *Result) Lines() []string {
	var lines []string
	for _, f := range r.Failures {
		place := r.Suite.Path
		if f.At.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d", place, f.At.Line, f.At.Column)
		}
		turn := ""
		if len(r.Case.Turns) > 0 && f.Turn > 0 {
			turn = fmt.Sprintf("turn %d: ", f.Turn)
		}
		lines = append(lines, fmt.Sprintf("%s: %s%s: %s", place, turn, f.Check, f.Message))
		if f.Want != "" {
			lines = append(lines, "  want: "+indented(f.Want))
		}
		if f.Got != "" {
			lines = append(lines, "  got:  "+indented(f.Got))
		}
	}
	if r.Err != nil {
		lines = append(lines, message(r.Err))
	}
	return lines
}

func indented(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n        ") }

// message returns what a reader is told of an error: its message, its issues, its hint.
func message(err error) string {
	e, ok := asError(err)
	if !ok {
		return err.Error()
	}
	lines := []string{e.Message}
	for _, i := range e.Issues {
		lines = append(lines, "  "+i.String())
	}
	text := strings.Join(lines, "\n")
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}
