package embedding

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/llm"
	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
)

const (
	publicHost     = "api.openai.com"
	remoteName     = "openai"
	remoteParallel = 4
	// remoteText is how many bytes of a text are sent: its tokens stay below the 8,192 that the
	// models take, in nearly every language. The built-in model reads about 1,000.
	remoteText = 16 << 10
)

// A server embeds texts elsewhere.
type server struct {
	api        sdk.EmbeddingService
	cfg        Remote
	model      string
	dimensions int // 0 before the first answer
	shorten    bool
}

// native returns the dimensions of OpenAI's own models, and whether they can be asked for fewer.
func native(model string) (dimensions int, shortens bool) {
	switch model {
	case "text-embedding-3-small":
		return 1536, true
	case "text-embedding-3-large":
		return 3072, true
	case "text-embedding-ada-002":
		return 1536, false
	}
	return 0, false
}

func openRemote(ctx context.Context, model string, cfg Remote) (loaded, error) {
	cfg.BaseURL = cmp.Or(cfg.BaseURL, "https://"+publicHost+"/v1")
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	cfg.MaxRetries = max(0, cmp.Or(cfg.MaxRetries, 2))
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = llm.SameHost()
	}
	if u, err := url.Parse(cfg.BaseURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return loaded{}, caxton.Errorf(caxton.Invalid, "embedding_url_invalid", "memory.embedding_config.base_url is not the address of a server").
			WithHint("write it like https://%s/v1", publicHost).WithCause(err)
	}
	size, shortens := native(model)
	s := &server{
		// sdk.NewClient would read the environment, which is meant for OpenAI's own server.
		api: sdk.NewEmbeddingService(
			option.WithBaseURL(cfg.BaseURL), option.WithAPIKey(cmp.Or(cfg.APIKey, "none")), option.WithHTTPClient(cfg.HTTPClient),
			option.WithMaxRetries(cfg.MaxRetries), option.WithRequestTimeout(cfg.Timeout)),
		cfg: cfg, model: model, dimensions: cmp.Or(cfg.Dimensions, size), shorten: shortens && cfg.Dimensions > 0 && cfg.Dimensions != size,
	}
	if s.dimensions == 0 {
		v, err := s.embed(ctx, []string{"dimensions"})
		if err != nil {
			return loaded{}, err
		}
		s.dimensions = len(v[0])
	}
	return loaded{
		backend: s, identity: fmt.Sprintf("%s:%s@%d", remoteName, model, s.dimensions), source: remote,
		dimensions: s.dimensions, verified: true, parallel: remoteParallel,
	}, nil
}

func (s *server) embed(ctx context.Context, texts []string) ([][]float32, error) {
	input := make([]string, len(texts))
	for i, t := range texts {
		input[i] = shortened(t)
	}
	p := sdk.EmbeddingNewParams{
		Model: s.model, Input: sdk.EmbeddingNewParamsInputUnion{OfArrayOfStrings: input},
		EncodingFormat: sdk.EmbeddingNewParamsEncodingFormatFloat,
	}
	if s.shorten {
		p.Dimensions = param.NewOpt(int64(s.dimensions))
	}
	x := llm.NewExchange(remoteName, s.cfg.APIKey, s.cfg.BaseURL, false)
	res, err := s.api.New(ctx, p, option.WithMiddleware(x.Do))
	if err != nil {
		return nil, hinted(x.Error(ctx, err))
	}
	out := make([][]float32, len(texts))
	for _, e := range res.Data {
		if e.Index < 0 || e.Index >= int64(len(out)) || out[e.Index] != nil {
			return nil, malformed("a vector at place %d of %d", e.Index, len(out))
		}
		v := make([]float32, len(e.Embedding))
		for i, f := range e.Embedding {
			v[i] = float32(f)
		}
		if s.dimensions != 0 && len(v) != s.dimensions {
			return nil, malformed("a vector of %d dimensions instead of %d", len(v), s.dimensions)
		}
		if err := normalise(v); err != nil {
			return nil, malformed("%v", err)
		}
		out[e.Index] = v
	}
	for i, v := range out {
		if v == nil {
			return nil, malformed("no vector for text %d of %d", i+1, len(out))
		}
	}
	return out, nil
}

func malformed(format string, args ...any) error {
	return caxton.Errorf(caxton.Malformed, "embedding_answer_malformed", "the embedding server answered with "+format, args...).
		WithHint("check memory.embedding_model, and memory.embedding_config.base_url and .dimensions")
}

// shortened returns as much of a text as is sent. Nothing is sent as a space, as servers refuse
// it; and what is not UTF-8 as JSON would write it.
func shortened(s string) string {
	if len(s) > remoteText {
		end := remoteText
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	if s == "" {
		return " "
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// hinted returns err with a hint that speaks of memory's settings instead of the language
// model's.
func hinted(err error) error {
	e, ok := errors.AsType[*caxton.Error](err)
	if !ok {
		return err
	}
	switch e.Kind {
	case caxton.Unauthenticated, caxton.Forbidden:
		return e.WithHint("check memory.embedding_config.api_key")
	case caxton.NotFound, caxton.Malformed:
		return e.WithHint("check memory.embedding_model and memory.embedding_config.base_url")
	case caxton.Unavailable, caxton.Timeout:
		return e.WithHint("check memory.embedding_config.base_url and the network, or use the built-in %s", builtInName)
	case caxton.Exhausted:
		return e.WithHint("wait, or raise the provider's limits")
	case caxton.Invalid:
		return e.WithHint("check memory.embedding_model")
	case caxton.TooLarge:
		return e.WithHint("lower memory.embedding_config.batch_size")
	case caxton.Canceled, caxton.Conflict, caxton.Internal:
	}
	return e
}
