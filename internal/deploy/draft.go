package deploy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/internal/agentfile"
)

// Draft keeps a version of an agent that is like the one given, with another system prompt,
// and returns its number. It does not become the active one: only conversations that name it
// are handled by it. Errors: NotFound, or why it could not run.
func (d *Deployer) Draft(ctx context.Context, id caxton.AgentID, like int, prompt, author string) (int, error) {
	unlock, err := d.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	a, err := d.registry.Agent(id)
	if err != nil {
		return 0, err
	}
	v, err := d.registry.Version(ctx, id, cmp.Or(like, a.Version))
	if err != nil {
		return 0, err
	}
	if v.Definition.IsModule() {
		return 0, caxton.Errorf(caxton.Invalid, "module_without_prompt", "%s is a module and has no prompt", a.Slug).
			WithHint("deploy another module instead")
	}
	v.Definition.SystemPrompt = prompt
	text := agentfile.Markdown(v.Definition)
	def, _, issues := d.Validate(ctx, caxton.DeployRequest{Text: text, Format: "markdown", Source: "api"})
	if err := agentfile.Err("", issues); err != nil {
		return 0, err
	}
	sum := sha256.Sum256(text)
	v = caxton.AgentVersion{
		AgentID: id, Number: a.Versions + 1, Hash: hex.EncodeToString(sum[:]), Author: cmp.Or(author, "unknown"), Source: "api",
		Format: "markdown", Text: text, Definition: def, CreatedAt: d.cfg.Now().UTC(),
	}
	if err := d.try(ctx, v, a); err != nil {
		return 0, err
	}
	n, err := d.registry.Draft(ctx, v)
	if err == nil {
		d.cfg.Logger.InfoContext(ctx, "version drafted", "agent", a.Slug, "agent_id", a.ID, "version", n, "author", v.Author)
	}
	return n, err
}
