package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// An alias is another spelling of a command.
type alias struct {
	spelling string // the words after caxton; "" is caxton without a verb
	command  string // the canonical words

	// build builds the command once more where the spelling stands below another noun than
	// the command; nil where it is a second name beside the first.
	build func(*Env) *cobra.Command
}

// aliases lists every spelling of a command that is not the canonical one.
func aliases() []alias {
	return []alias{
		{"", "serve", nil}, // with --config; the root does it
		{"start", "serve", nil},
		{"server start", "serve", newServe},

		{"agent", "agents", nil},
		{"message", "messages", nil},
		{"conversation", "conversations", nil},
		{"approval", "approvals", nil},
		{"effect", "effects", nil},
		{"budget", "budgets", nil},
		{"tool", "tools", nil},
		{"capability", "capabilities", nil},
		{"webhook", "webhooks", nil},

		{"deploy", "agents deploy", newAgentsDeploy},
		{"reload", "agents reload", newAgentsReload},
		{"logs", "agents logs", newAgentsLogs},
		{"debug", "agents debug", newAgentsDebug},
		{"messages why", "why", newWhy},

		{"agents ls", "agents list", nil},
		{"agents rm", "agents remove", nil},
		{"agents delete", "agents remove", nil},
		{"agents performance", "agents performance-report", nil},
		{"conversations ls", "conversations list", nil},
		{"approvals ls", "approvals list", nil},
		{"effects ls", "effects list", nil},
		{"budgets ls", "budgets list", nil},
		{"messages dead ls", "messages dead list", nil},
		{"tools ls", "tools list", nil},
		{"capabilities ls", "capabilities list", nil},
		{"webhooks ls", "webhooks list", nil},
		{"webhooks rm", "webhooks delete", nil},
		{"memory ls", "memory list", nil},
		{"memory rm", "memory forget", nil},
		{"memory blame", "memory history", nil},
	}
}

// aliasKey is the annotation of a command that is another spelling: the canonical words.
const aliasKey = "alias"

// addAliases adds the other spellings to the tree.
func addAliases(root *cobra.Command, env *Env) {
	for _, a := range aliases() {
		words := strings.Fields(a.spelling)
		if len(words) == 0 {
			continue
		}
		last := words[len(words)-1]
		c := find(root, a.command)
		if a.build == nil {
			c.Aliases = append(c.Aliases, last)
			continue
		}
		again := a.build(env)
		_, arguments, _ := strings.Cut(again.Use, " ")
		again.Use = strings.TrimSpace(last + " " + arguments)
		again.Short += " (same as " + a.command + ")"
		if again.Annotations == nil {
			again.Annotations = map[string]string{}
		}
		again.Annotations[aliasKey] = a.command
		parent := find(root, strings.Join(words[:len(words)-1], " "))
		if parent == root {
			again.GroupID = find(root, strings.Fields(a.command)[0]).GroupID
		}
		parent.AddCommand(again)
	}
}

// find returns the command of these words.
func find(root *cobra.Command, words string) *cobra.Command {
	c, rest, err := root.Find(strings.Fields(words))
	if err != nil || len(rest) > 0 {
		panic("cli: the table of aliases names the command " + words + ", which is not there")
	}
	return c
}
