package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// Aliases returns the table: the canonical words by the spelling.
func Aliases() map[string]string {
	all := map[string]string{}
	for _, a := range aliases() {
		all[a.spelling] = a.command
	}
	return all
}

// A Command is what tests see of a command.
type Command struct {
	Words     string   // after caxton
	Arguments string   // after its name
	Flags     []string // its own, as its help tells them
	Aliases   []string // second names
	Of        string   // the canonical words, when it is another spelling of them
	Runs      bool     // it is no group
	Plain     bool     // it needs no server
	Help      string
}

// Commands returns the whole tree.
func Commands() []Command {
	var all []Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		all = append(all, command(c))
		for _, child := range c.Commands() {
			walk(child)
		}
	}
	walk(newRoot(&Env{}))
	return all
}

// Find returns the command of these words, whatever their spelling.
func Find(words string) (Command, bool) {
	c, rest, err := newRoot(&Env{}).Find(strings.Fields(words))
	if err != nil || len(rest) > 0 {
		return Command{}, false
	}
	return command(c), true
}

func command(c *cobra.Command) Command {
	_, arguments, _ := strings.Cut(c.Use, " ")
	x := Command{
		Words: strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), "caxton"), " "), Arguments: arguments, Aliases: c.Aliases,
		Of: c.Annotations[aliasKey], Runs: !c.HasSubCommands(), Plain: c.Annotations[sortKey] != "", Help: c.Long,
	}
	x.Flags = strings.Split(c.LocalFlags().FlagUsages(), "\n")
	return x
}
