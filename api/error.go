package api

import (
	"errors"

	"github.com/caxton/caxton"
)

// An ErrorBody is the body of every answer that is no success.
type ErrorBody struct {
	Error ErrorInfo `json:"error"`
}

// ErrorInfo tells what went wrong.
type ErrorInfo struct {
	Kind      string  `json:"kind" doc:"what sort of failure it is" example:"not_found"`
	Code      string  `json:"code" doc:"for programs; never changes" example:"agent_not_found"`
	Message   string  `json:"message" doc:"for people" example:"there is no agent \"greter\""`
	Hint      string  `json:"hint,omitempty" doc:"what to do about it" example:"did you mean greeter?"`
	Details   []Issue `json:"details,omitempty" doc:"every fault of a document"`
	RequestID string  `json:"request_id,omitempty" doc:"names this request in the server's log"`

	Imported *MemoryImported `json:"imported,omitempty" doc:"of an import into memory that failed in its midst: what was taken by then"`
}

// An Issue is one fault at one place of a document.
type Issue struct {
	Path    string `json:"path,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Key     string `json:"key,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Warning bool   `json:"warning,omitempty"`
}

// IssuesFrom returns issues as they are sent.
func IssuesFrom(issues []caxton.Issue) []Issue {
	out := make([]Issue, 0, len(issues))
	for _, i := range issues {
		out = append(out, Issue(i))
	}
	return out
}

// ErrorFrom returns err as it is sent. An internal error shows nothing but the request ID.
func ErrorFrom(err error, requestID string) ErrorBody {
	var e *caxton.Error
	if !errors.As(err, &e) || e.Kind == caxton.Internal {
		return ErrorBody{ErrorInfo{
			Kind: string(caxton.Internal), Code: "internal", Message: "the server failed",
			Hint: "its log has the cause under the request ID", RequestID: requestID,
		}}
	}
	b := ErrorBody{ErrorInfo{Kind: string(e.Kind), Code: e.Code, Message: e.Message, Hint: e.Hint, RequestID: requestID}}
	if len(e.Issues) > 0 {
		b.Error.Details = IssuesFrom(e.Issues)
	}
	return b
}

// Err returns the error that the body tells of.
func (b *ErrorBody) Err() *caxton.Error {
	e := &caxton.Error{Kind: caxton.Kind(b.Error.Kind), Code: b.Error.Code, Message: b.Error.Message, Hint: b.Error.Hint}
	for _, i := range b.Error.Details {
		e.Issues = append(e.Issues, caxton.Issue(i))
	}
	return e
}
