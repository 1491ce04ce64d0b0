package deploy

import (
	"context"
	"strings"

	"github.com/caxton/caxton"
)

// checkModule finds the module of a definition and has it judged. What is found out about it
// becomes part of the definition.
func (d *Deployer) checkModule(ctx context.Context, req *caxton.DeployRequest, path string, c *checked) {
	fault := func(message, hint string) {
		c.issues = append(c.issues, caxton.Issue{Path: path, Key: "module", Message: message, Hint: hint})
	}
	file := c.def.Module.File
	hash, named := strings.CutPrefix(file, caxton.ModulePrefix)
	switch {
	case d.cfg.Modules == nil:
		fault("this server runs no modules", "")
		return
	case req.Module != nil:
		c.module = req.Module
	case named:
		var err error
		if c.module, err = d.cfg.Modules.Get(ctx, hash); err != nil {
			c.issues = append(c.issues, issueOf(err, path, "module", "the module cannot be had"))
			return
		}
	case file == "":
		fault("a WASM agent without its module", "send it with the definition, or say module: and its file")
		return
	default:
		fault("the module "+file+" did not come with the definition", "put it beside the file, and deploy with caxton agents deploy, which sends both")
		return
	}
	rep, issues := d.cfg.Modules.Inspect(ctx, c.module, &c.def)
	for _, i := range issues {
		i.Path = path
		c.issues = append(c.issues, i)
	}
	if named && rep.SHA256 != hash {
		fault("the module that came with the definition is another one than "+file, "leave one of them away")
	}
	c.report = &rep
	m := &c.def.Module
	m.SHA256, m.Size, m.Contract = rep.SHA256, rep.Size, rep.Contract
	if len(c.def.Capabilities) > 0 || c.def.Name == "" {
		return
	}
	c.def.Capabilities = rep.Capabilities
	if len(rep.Capabilities) > 0 {
		return
	}
	own, err := caxton.ParseCapability(caxton.Slug(c.def.Name)) // so that it can be asked for
	if err != nil {
		c.issues = append(c.issues, caxton.Issue{
			Path: path, Key: "capabilities", Message: "capabilities is missing, the module says none, and the agent's name cannot stand for one",
			Hint: "say what the agent can be asked for, for example capabilities: [data-analysis]",
		})
		return
	}
	c.def.Capabilities = []caxton.Capability{own}
}
