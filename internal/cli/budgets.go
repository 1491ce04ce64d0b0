package cli

import (
	"strconv"

	"github.com/spf13/cobra"
)

func newBudgets(env *Env) *cobra.Command {
	return group("budgets", "See how much of each budget is used", newBudgetsList(env))
}

func newBudgetsList(env *Env) *cobra.Command {
	var prefix, cursor string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List how much of each budget is used", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().Budgets(cmd.Context(), prefix, limit, cursor)
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("ACCOUNT", "AGENT", "UNIT", "CAP", "SPENT", "HELD BACK", "LEFT")
				for _, b := range l.Items {
					n := func(n int64) string { return strconv.FormatInt(n, 10) }
					p.row(b.Account, b.Agent, b.Unit, n(b.Cap), n(b.Spent), n(b.Reserved), n(b.Left))
				}
				env.more(l.Next)
			})
		},
	}
	c.Flags().StringVar(&prefix, "prefix", "", "only accounts whose names begin with `text`: agent/, server/, tree/")
	c.Flags().IntVar(&limit, "limit", 200, "how `many`, 1 to 1000")
	c.Flags().StringVar(&cursor, "cursor", "", "`cursor` of the page before")
	return c
}
