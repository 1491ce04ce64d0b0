package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/tool"
)

// source is what the Spec of every tool here names as its Source.
const source = "builtin"

// preview is how many bytes of a body or a file a Text shows.
const preview = 12 << 10

// Config bounds the tools. Zero fields mean the documented defaults.
type Config struct {
	HTTP HTTPConfig
	CSV  CSVConfig
	JSON JSONConfig
	File FileConfig
	Now  func() time.Time // the clock; default time.Now
}

// New returns all built-in tools. It fails with Invalid when a host rule of cfg cannot be
// read.
func New(cfg Config) ([]tool.Tool, error) {
	makers := []func(Config) (tool.Tool, error){newHTTP, newCSV, newJSON, newCalculator, newClock, newFile}
	tools := make([]tool.Tool, 0, len(makers))
	for _, construct := range makers {
		t, err := construct(cfg)
		if err != nil {
			return nil, err
		}
		tools = append(tools, t)
	}
	return tools, nil
}

// specOf returns the Spec of a tool whose arguments are the struct A. The tags of A name and
// describe the parameters; shape adds what tags cannot say.
func specOf[A any](name, description string, shape func(p map[string]*jsonschema.Schema)) (tool.Spec, error) {
	s, err := jsonschema.For[A](nil)
	if err != nil {
		return tool.Spec{}, fmt.Errorf("schema of %s: %w", name, err)
	}
	for _, p := range s.Properties { // a missing list is left out, not null
		if len(p.Types) == 2 && p.Types[0] == "null" {
			p.Type, p.Types = p.Types[1], nil
		}
	}
	if shape != nil {
		shape(s.Properties)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return tool.Spec{}, fmt.Errorf("schema of %s: %w", name, err)
	}
	return tool.Spec{Name: name, Description: description, Parameters: text, Source: source}, nil
}

// decode reads checked arguments into a struct.
func decode(name string, args json.RawMessage, into any) error {
	if err := json.Unmarshal(args, into); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return caxton.Errorf(caxton.Invalid, "arguments_invalid", "the arguments of %s are wrong: %q cannot be the %s", name, wrong.Field, wrong.Value).
				WithHint("write whole numbers without a point or an exponent").WithCause(err)
		}
		return caxton.Errorf(caxton.Malformed, "arguments_malformed", "the arguments of %s cannot be read", name).WithCause(err)
	}
	return nil
}

// encode writes the structured result of a tool.
func encode(v any) (json.RawMessage, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding the result: %w", err)
	}
	return b, nil
}

// earlier returns the full result of an earlier call of the turn.
func earlier(ctx context.Context, call tool.Call, from string) ([]byte, error) {
	if call.Results == nil {
		return nil, caxton.Errorf(caxton.NotFound, "result_not_found", "there are no earlier results to read %q from", from).
			WithHint(`pass the content itself as "data"`)
	}
	body, _, err := call.Results.Result(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("result of call %s: %w", from, err)
	}
	return body, nil
}

// either returns an Invalid error unless exactly one of data and from is given.
func either(name string, data bool, from string) error {
	if data != (from != "") {
		return nil
	}
	return caxton.Errorf(caxton.Invalid, "arguments_invalid", `the arguments of %s are wrong: give either "data" or "from"`, name).
		WithHint(`"data" is the content itself, "from" the id of an earlier tool call whose full result is read`)
}

// tooLarge returns a TooLarge error when size is over limit.
func tooLarge(what string, size int, limit caxton.Size, key string) error {
	if caxton.Size(size) <= limit {
		return nil
	}
	return caxton.Errorf(caxton.TooLarge, "input_too_large", "%s has %d bytes, the limit is %s", what, size, limit).
		WithHint("pass less, or raise %s in the server's configuration", key)
}

// cut returns the longest beginning of s of at most n bytes that ends at a rune border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// extract returns the beginning of a text that has total bytes, and below it, when that is
// not all, how much there is and how to reach the rest.
func extract(text string, total int, callID string) string {
	if len(text) <= preview && total <= preview {
		return text
	}
	rest := ""
	if callID != "" {
		rest = fmt.Sprintf(`; tools that take "from" read all of it with "from": %q`, callID)
	}
	return strings.TrimRight(cut(text, preview), "\n") + fmt.Sprintf("\n[this is only the beginning of %d bytes%s]", total, rest)
}

// positive returns v, or d when v is 0.
func positive[T ~int | ~int64](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}
