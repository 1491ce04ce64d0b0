package config

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/caxton/caxton"
)

// Webhook is an address that is told of records.
type Webhook struct {
	URL            string   `key:"url" doc:"Where requests go: https://…."`
	Secret         string   `key:"secret" secret:"true" doc:"What they are signed with: whsec_ and base64, or a text of 16 bytes and more."`
	SecretFile     string   `key:"secret_file" doc:"File that holds it."`
	PreviousSecret string   `key:"previous_secret" secret:"true" doc:"While the secret is changed: they are signed with this one too."`
	Events         []string `key:"events" doc:"Kinds of records; without it all."`
	Agents         []string `key:"agents" doc:"Only what these agents do or are sent."`
	Conversations  []string `key:"conversations" doc:"Only these."`
}

// Webhook returns the webhook that is declared. A relative path of its secret starts at dir.
func (w *Webhook) Webhook(dir string) (caxton.Webhook, error) {
	out := caxton.Webhook{URL: w.URL, Agents: w.Agents}
	secret := w.Secret
	if secret == "" && w.SecretFile != "" {
		path := w.SecretFile
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		text, err := os.ReadFile(path) //nolint:gosec // the operator names it
		if err != nil || len(text) > maxSecret {
			return out, caxton.Errorf(caxton.Invalid, "webhook_secret_unreadable", "the secret of the webhook %s cannot be read from %s", w.URL, w.SecretFile).
				WithHint("name a file in messaging.webhooks that holds only the secret").WithCause(err)
		}
		secret = strings.TrimSpace(string(text))
	}
	for _, s := range []string{secret, w.PreviousSecret} {
		if s != "" {
			out.Secrets = append(out.Secrets, s)
		}
	}
	for _, e := range w.Events {
		k, err := caxton.ParseEventKind(e)
		if err != nil {
			return out, err
		}
		out.Events = append(out.Events, k)
	}
	for _, c := range w.Conversations {
		out.Conversations = append(out.Conversations, caxton.ConversationID(c))
	}
	return out, nil
}
