package api

import "encoding/json"

// A TestReport is the result of caxton agents test --output json.
type TestReport struct {
	Passed  int        `json:"passed"`
	Failed  int        `json:"failed"`
	Errors  int        `json:"errors" doc:"cases that could not be played"`
	Skipped int        `json:"skipped"`
	Millis  float64    `json:"duration_ms"`
	Items   []TestCase `json:"items"`
}

// A TestCase is how one case of a test file went.
type TestCase struct {
	File     string        `json:"file"`
	Line     int           `json:"line"`
	Suite    string        `json:"suite" doc:"the test file's name without its ending"`
	Name     string        `json:"name"`
	Status   string        `json:"status" enum:"passed,failed,error,skipped"`
	Reason   string        `json:"reason,omitempty" doc:"why it was skipped, or could not be played"`
	Failures []TestFailure `json:"failures"`
	Turns    []TestTurn    `json:"turns"`
	Millis   float64       `json:"duration_ms"`
}

// A TestFailure is one expectation that does not hold.
type TestFailure struct {
	Turn    int    `json:"turn" doc:"from 1; 0 for the whole of a conversation of several turns"`
	Check   string `json:"check" doc:"the key of the expectation; or reply, or timeout"`
	Line    int    `json:"line" doc:"of the expectation in the test file"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Want    string `json:"want,omitempty"`
	Got     string `json:"got,omitempty"`
}

// A TestTurn is what happened in one turn of a case.
type TestTurn struct {
	Input        string          `json:"input"`
	Performative string          `json:"performative,omitempty" doc:"of the reply; absent without one"`
	Text         string          `json:"text,omitempty" doc:"of the reply"`
	Content      json.RawMessage `json:"content,omitempty" doc:"of the reply"`
	Outcome      string          `json:"outcome,omitempty" enum:"done,failed,unknown"`
	Code         string          `json:"error_code,omitempty"`
	Attempts     int             `json:"attempts"`
	ToolCalls    []TestToolCall  `json:"tool_calls"`
	ModelCalls   int             `json:"model_calls"`
	InputTokens  int             `json:"input_tokens"`
	OutputTokens int             `json:"output_tokens"`
	Millis       float64         `json:"duration_ms"`
}

// A TestToolCall is one call of a tool.
type TestToolCall struct {
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments"`
	Failed    bool            `json:"failed"`
	Result    string          `json:"result,omitempty" doc:"what the model read"`
}
