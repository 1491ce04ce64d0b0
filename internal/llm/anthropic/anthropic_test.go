package anthropic_test

import (
	"testing"
	"time"

	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/llm/anthropic"
	"github.com/caxton/caxton/internal/llm/llmtest"
)

func TestProvider(t *testing.T) {
	llmtest.TestProvider(t, llmtest.Anthropic, func(baseURL string, timeout time.Duration, retries int) llm.Model {
		if retries == 0 {
			retries = -1
		}
		return anthropic.New(anthropic.Config{BaseURL: baseURL, APIKey: llmtest.Key, Model: "fake-1", Timeout: timeout, MaxRetries: retries})
	})
}
