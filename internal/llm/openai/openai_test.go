package openai_test

import (
	"testing"
	"time"

	"github.com/caxton/caxton/internal/llm"
	"github.com/caxton/caxton/internal/llm/llmtest"
	"github.com/caxton/caxton/internal/llm/openai"
)

func TestProvider(t *testing.T) {
	llmtest.TestProvider(t, llmtest.OpenAI, func(baseURL string, timeout time.Duration, retries int) llm.Model {
		if retries == 0 {
			retries = -1
		}
		return openai.New(openai.Config{BaseURL: baseURL, APIKey: llmtest.Key, Model: "fake-1", Timeout: timeout, MaxRetries: retries})
	})
}
