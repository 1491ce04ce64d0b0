package engine

import (
	"cmp"
	"context"
	"regexp"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/memory"
)

const (
	episodeText       = 2000 // bytes kept of each side of a turn
	episodeImportance = 0.3  // below what is remembered on purpose: it goes first when there is too much
	episodeName       = "turn "
)

// Episode remembers a turn in a scope, without the secrets in it. The same message is
// remembered once, however often it is handled.
func (e *Engine) Episode(ctx context.Context, s caxton.Scope, t memory.Turn) (memory.Written, error) {
	if t.MessageID == "" || strings.TrimSpace(t.Text+t.Reply) == "" {
		return memory.Written{}, caxton.Errorf(caxton.Invalid, "episode_invalid", "a turn needs a message with an ID and text")
	}
	a := memory.Access{Scopes: []caxton.Scope{s}}
	name := episodeName + string(t.MessageID)
	if t.AgentID != "" && s.Kind != caxton.AgentScope { // the same message may go to several agents that share a scope
		name += " " + string(t.AgentID)
	}
	at := t.At
	if at.IsZero() {
		at = e.cfg.Now()
	}
	importance := episodeImportance
	w, err := e.Remember(ctx, a, []memory.Memo{{
		Scope: s, Name: name, Type: caxton.EpisodeType, Importance: &importance, CreateOnly: true,
		Notes: []memory.Note{{Text: episode(&t), Valid: caxton.Span{From: at}}},
	}}, caxton.Provenance{
		ConversationID: t.ConversationID, MessageID: t.MessageID, AgentID: t.AgentID, Version: t.Version, Tool: caxton.EpisodeTool,
	})
	if caxton.KindOf(err) != caxton.Conflict {
		return w, err
	}
	there, err := e.store.Named(ctx, a, name, memory.AsOf{})
	if err != nil || len(there) == 0 {
		return memory.Written{}, err
	}
	return memory.Written{Remembered: []memory.Remembered{{Entity: there[0]}}}, nil
}

func episode(t *memory.Turn) string {
	var b strings.Builder
	say := func(who, text string) {
		text = strings.TrimSpace(strings.ToValidUTF8(text, "\uFFFD"))
		if text == "" {
			return
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(who)
		b.WriteString(": ")
		text = redact(text)
		b.WriteString(shortened(text, episodeText))
		if len(text) > episodeText {
			b.WriteString("…")
		}
	}
	say(cmp.Or(t.Sender, "user"), t.Text)
	say(cmp.Or(t.Agent, "agent"), t.Reply)
	return b.String()
}

// redact replaces what looks like a secret by "[redacted]": the value after a word like
// password, api_key, secret or token and a sign like = or :, the credentials in an
// Authorization header or a URL, keys of well-known forms, and private keys.
func redact(text string) string {
	text = privateKey.ReplaceAllString(text, redacted)
	text = namedSecret.ReplaceAllString(text, "${1}"+redacted)
	text = saidSecret.ReplaceAllString(text, "${1}"+redacted)
	text = authorization.ReplaceAllString(text, "${1} "+redacted)
	text = credentialURL.ReplaceAllString(text, "${1}:"+redacted+"@")
	return knownKey.ReplaceAllString(text, redacted)
}

const redacted = "[redacted]"

var (
	privateKey  = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)`)
	namedSecret = regexp.MustCompile(`(?i)((?:\b|_)(?:password|passwd|passphrase|pwd|api[_ -]?key|secret|token|access[_-]?key|private[_-]?key|credentials?)(?:[_-][a-z0-9]+)*["']?\s*(?:=>|:=|=|:)\s*)("[^"\n]*"|'[^'\n]*'|[^\s,;]+)`)
	saidSecret  = regexp.MustCompile(`(?i)(\b(?:password|passwd|passphrase|pwd|api key|secret key)\s+is\s+)("[^"\n]*"|'[^'\n]*'|[^\s,;]+)`)

	authorization = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}`)
	credentialURL = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]+):[^\s/@]+@`)
	knownKey      = regexp.MustCompile(`\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bAKIA[0-9A-Z]{16}\b|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`)
)
