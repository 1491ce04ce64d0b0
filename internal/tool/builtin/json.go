package builtin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/itchyny/gojq"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
)

// JSONConfig bounds json_query.
type JSONConfig struct {
	MaxSize   caxton.Size   // of one document; default 10 MiB
	MaxOutput caxton.Size   // of all results together; default 1 MiB
	Timeout   time.Duration // for one query; default 5 s
}

const (
	maxQuery   = 8 << 10
	maxResults = 10_000
)

type jsonQuery struct {
	spec tool.Spec
	cfg  JSONConfig
}

type jsonArgs struct {
	Query string          `json:"query" jsonschema:"The query in the language of jq, such as .items[] | {name, price}."`
	Data  json.RawMessage `json:"data,omitempty"`
	From  string          `json:"from,omitempty" jsonschema:"Id of an earlier tool call whose full result is the document."`
}

// jsonResult is the Data of json_query.
type jsonResult struct {
	Results []json.RawMessage `json:"results"`
}

func newJSON(cfg Config) (tool.Tool, error) {
	q := &jsonQuery{cfg: cfg.JSON}
	q.cfg.MaxSize = positive(q.cfg.MaxSize, 10*caxton.MiB)
	q.cfg.MaxOutput = positive(q.cfg.MaxOutput, caxton.MiB)
	q.cfg.Timeout = positive(q.cfg.Timeout, 5*time.Second)
	var err error
	q.spec, err = specOf[jsonArgs]("json_query",
		"Query or reshape JSON with a query in the language of jq. Returns the results, one a line. "+
			"Pass the document as data, or the id of the call that fetched it as from. "+
			"Numbers keep all their digits as long as the query only selects them.",
		func(p map[string]*jsonschema.Schema) {
			p["query"].MinLength, p["query"].MaxLength = new(1), new(maxQuery)
			p["data"] = &jsonschema.Schema{Description: "The document: a JSON value, or a text that holds JSON. Give either data or from."}
		})
	q.spec.Idempotent = true
	return q, err
}

// Spec describes the tool.
func (q *jsonQuery) Spec() tool.Spec { return q.spec }

// Call runs a query.
func (q *jsonQuery) Call(ctx context.Context, call tool.Call) (tool.Result, error) {
	var a jsonArgs
	if err := decode(q.spec.Name, call.Args, &a); err != nil {
		return tool.Result{}, err
	}
	if err := either(q.spec.Name, a.Data != nil, a.From); err != nil {
		return tool.Result{}, err
	}
	code, err := compileQuery(a.Query)
	if err != nil {
		return tool.Result{}, err
	}
	text := []byte(a.Data)
	if a.Data == nil {
		if text, err = earlier(ctx, call, a.From); err != nil {
			return tool.Result{}, err
		}
	} else if text[0] == '"' { // a text that holds JSON
		var inner string
		if err := json.Unmarshal(text, &inner); err != nil {
			return tool.Result{}, fmt.Errorf("reading data: %w", err)
		}
		text = []byte(inner)
	}
	if err := tooLarge("the document", len(text), q.cfg.MaxSize, "tools.json_query.max_size"); err != nil {
		return tool.Result{}, err
	}
	document, err := parseJSON(text)
	if err != nil {
		return tool.Result{}, err
	}
	within, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	results, err := q.run(within, code, document)
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return tool.Result{}, caxton.Errorf(caxton.Timeout, "query_timeout", "the query did not finish within %v", q.cfg.Timeout).
				WithHint("ask for less at a time").WithCause(err)
		}
		return tool.Result{}, err
	}
	return present(results, call.ID)
}

// compileQuery parses a query and reports faults with their place. Queries have no access
// to the environment, to files or to modules: nothing is given to the compiler.
func compileQuery(text string) (*gojq.Code, error) {
	parsed, err := gojq.Parse(text)
	if err != nil {
		at := ""
		if fault, ok := errors.AsType[*gojq.ParseError](err); ok {
			before := text[:min(max(fault.Offset-len(fault.Token), 0), len(text))]
			line := 1 + strings.Count(before, "\n")
			column := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
			at = fmt.Sprintf(" at line %d, column %d", line, column)
		}
		return nil, caxton.Errorf(caxton.Invalid, "query_invalid", "the query cannot be read%s: %v", at, err).
			WithHint("write it in the language of jq, such as .items[] | .name").WithCause(err)
	}
	code, err := gojq.Compile(parsed)
	if err != nil {
		return nil, caxton.Errorf(caxton.Invalid, "query_invalid", "the query is wrong: %v", err).
			WithHint("use the functions of jq; files, modules and the environment are not available").WithCause(err)
	}
	return code, nil
}

// parseJSON reads one document, or several in a row, as in a file of JSON lines, which
// become an array.
func parseJSON(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	d.UseNumber()
	var documents []any
	for {
		var v any
		err := d.Decode(&v)
		if errors.Is(err, io.EOF) && len(documents) > 0 {
			break
		}
		if err != nil {
			return nil, malformedJSON(text, d.InputOffset(), err)
		}
		documents = append(documents, v)
	}
	if len(documents) == 1 {
		return documents[0], nil
	}
	return documents, nil
}

func malformedJSON(text []byte, offset int64, err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && syntax.Offset > 0 {
		offset = syntax.Offset - 1
	}
	before := text[:min(max(offset, 0), int64(len(text)))]
	line := 1 + bytes.Count(before, []byte{'\n'})
	column := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return caxton.Errorf(caxton.Malformed, "json_malformed", "the document is not JSON: line %d, column %d: %v", line, column, err).
		WithHint("pass a JSON document; for a table use csv_parser").WithCause(err)
}

// run collects the results of a query, within the bounds on number, size and time.
func (q *jsonQuery) run(ctx context.Context, code *gojq.Code, document any) ([]json.RawMessage, error) {
	results := []json.RawMessage{}
	var size caxton.Size
	iter := code.RunWithContext(ctx, document)
	for {
		v, ok := iter.Next()
		if !ok {
			return results, nil
		}
		if err, failed := v.(error); failed {
			var halt *gojq.HaltError
			if errors.As(err, &halt) && halt.Value() == nil {
				return results, nil
			}
			if ctx.Err() != nil {
				return nil, fmt.Errorf("running the query: %w", ctx.Err())
			}
			return nil, caxton.Errorf(caxton.Invalid, "query_failed", "the query failed: %s", cut(err.Error(), 500)).
				WithHint("look at the shape of the document first, for example with the query keys or type").WithCause(err)
		}
		text, err := gojq.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("encoding a result: %w", err)
		}
		if size += caxton.Size(len(text)); size > q.cfg.MaxOutput || len(results) == maxResults {
			return nil, caxton.Errorf(caxton.TooLarge, "output_too_large", "the query gives more than %d results or %s", maxResults, q.cfg.MaxOutput).
				WithHint("select less, for example with limit(100; …)")
		}
		results = append(results, text)
	}
}

func present(results []json.RawMessage, callID string) (tool.Result, error) {
	data, err := encode(jsonResult{results})
	if err != nil {
		return tool.Result{}, err
	}
	if len(results) == 0 {
		return tool.Result{Text: "no results", Data: data}, nil
	}
	lines := make([]string, len(results))
	for i, r := range results {
		lines[i] = string(r)
	}
	text := strings.Join(lines, "\n")
	return tool.Result{Text: extract(text, len(text), callID), Data: data, Body: []byte(text), MediaType: "application/json"}, nil
}
