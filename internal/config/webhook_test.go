package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/config"
)

func TestWebhooks(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"secret": "the secret of a file\n",
		"caxton.yaml": "messaging:\n  webhooks:\n    - url: https://example.com/one\n      secret: the first secret of all\n      previous_secret: what it was before\n      events: [settled]\n" +
			"    - url: https://example.com/two\n      secret_file: secret\n      agents: [greeter]\n      conversations: [c1]\n    - url: https://example.com/three\n      secret_file: nowhere\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := config.Load(config.Options{Path: filepath.Join(dir, "caxton.yaml"), Explicit: true, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	hooks := l.Config.Messaging.Webhooks
	one, err := hooks[0].Webhook(dir)
	if err != nil || !slices.Equal(one.Secrets, []string{"the first secret of all", "what it was before"}) || !slices.Equal(one.Events, []caxton.RecordKind{caxton.RecordSettled}) {
		t.Errorf("first %+v, %v", one, err)
	}
	two, err := hooks[1].Webhook(dir)
	if err != nil || !slices.Equal(two.Secrets, []string{"the secret of a file"}) || len(two.Agents) != 1 || len(two.Conversations) != 1 {
		t.Errorf("second %+v, %v", two, err)
	}
	if _, err := hooks[2].Webhook(dir); caxton.KindOf(err) != caxton.Invalid {
		t.Errorf("secret in a file that is not there: %v, want Invalid", err)
	}
	shown := string(l.YAML())
	for _, s := range l.Effective() {
		shown += s.Value
	}
	if strings.Contains(shown, "secret of all") || strings.Contains(shown, "it was before") || !strings.Contains(shown, "example.com/one") {
		t.Errorf("shown with its secrets, or not at all:\n%s", shown)
	}
}
