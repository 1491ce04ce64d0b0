package cli

import (
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

func newApprovals(env *Env) *cobra.Command {
	return group("approvals", "See what agents ask to be allowed, and decide", newApprovalsList(env), newApprovalsShow(env),
		newApprovalsDecide(env, "approve ID", "Agree: the call is made", func(c *api.Client) decider { return c.Approve }),
		newApprovalsDecide(env, "deny ID", "Refuse: the agent is told so", func(c *api.Client) decider { return c.Deny }))
}

func newApprovalsList(env *Env) *cobra.Command {
	var f api.TicketFilter
	c := &cobra.Command{
		Use: "list", Short: "List what waits for approval, newest first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().Approvals(cmd.Context(), f)
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("APPROVAL", "STATE", "AGENT", "CALL", "ARGUMENTS", "DECIDED", "EXPIRES")
				for i := range l.Items {
					t := &l.Items[i]
					p.row(t.ID, t.State, t.Agent, tool(t), arguments(t), decided(t), moment(t.ExpiresAt))
				}
				env.more(l.Next)
			})
		},
	}
	ticketFlags(c, &f, "pending (the default), approved, denied, expired or all")
	return c
}

func newApprovalsShow(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show what an agent asks to be allowed", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := env.Client().Approval(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(t, func(p *printer) { ticketTable(p, &t) })
		},
	}
}

func newApprovalsDecide(env *Env, use, short string, call func(*api.Client) decider) *cobra.Command {
	var d api.DecisionBody
	c := &cobra.Command{
		Use: use, Short: short, Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := call(env.Client())(cmd.Context(), args[0], env.signed(d))
			if err != nil {
				return err
			}
			return env.Print(t, func(p *printer) {
				if t.Open {
					p.line("noted; %s still waits: %s", t.ID, decided(&t))
					return
				}
				p.line("%s: %s of %s", t.State, tool(&t), t.Agent)
			})
		},
	}
	decisionFlags(c, &d)
	return c
}

// ticketFlags are the flags of lists of tickets.
func ticketFlags(c *cobra.Command, f *api.TicketFilter, states string) {
	c.Flags().StringVar(&f.State, "state", "", "only those in this `state`: "+states)
	c.Flags().StringVar(&f.Agent, "agent", "", "only those of this `agent`")
	c.Flags().StringVar(&f.ConversationID, "conversation", "", "only those in this `conversation`")
	c.Flags().IntVar(&f.Limit, "limit", 50, "how `many`, 1 to 200")
	c.Flags().StringVar(&f.Cursor, "cursor", "", "`cursor` of the page before")
}

// decisionFlags are the flags of commands that decide.
func decisionFlags(c *cobra.Command, d *api.DecisionBody) {
	c.Flags().StringVar(&d.By, "by", "", "`name` of who decides (default: your login name)")
	c.Flags().StringVar(&d.Reason, "reason", "", "`why`, for those who read the log")
}

// signed fills in who decides.
func (e *Env) signed(d api.DecisionBody) api.DecisionBody {
	d.By = e.by(d.By)
	return d
}

// by returns who decides: the name that was given, or that of the user's login.
func (e *Env) by(name string) string {
	if name != "" {
		return name
	}
	for _, key := range []string{"LOGNAME", "USER", "USERNAME"} {
		if v := e.getenv(key); v != "" {
			return v
		}
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// more says how to get the next page.
func (e *Env) more(next string) {
	if next != "" {
		e.say("more with --cursor %s", next)
	}
}

// ticketTable prints all about a ticket for people.
func ticketTable(p *printer, t *api.Ticket) {
	p.row("ID:", t.ID)
	p.row("State:", t.State)
	p.row("Agent:", t.Agent)
	p.row("Message:", t.MessageID)
	p.row("Conversation:", t.ConversationID)
	p.row("Since:", moment(&t.OpenedAt))
	if t.Reason != "" {
		p.row("Why:", strings.TrimSpace(t.Code+" "+t.Reason))
	}
	if t.Attempts > 0 {
		p.row("Attempts:", strconv.Itoa(t.Attempts))
	}
	if t.Policy != nil {
		who := "anybody"
		if len(t.Policy.Approvers) > 0 {
			who = strings.Join(t.Policy.Approvers, ", ")
		}
		p.row("Needs:", strconv.Itoa(t.Policy.Need)+" of "+who)
	}
	if t.ExpiresAt != nil {
		p.row("Expires:", moment(t.ExpiresAt))
	}
	if t.Call != nil {
		p.row("Call:", tool(t))
		p.line("Arguments: %s", t.Call.Arguments)
	}
	for _, d := range t.Decisions {
		p.row(moment(&d.At), d.By, d.State, d.Reason)
	}
}

func moment(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

func tool(t *api.Ticket) string {
	if t.Call == nil {
		return ""
	}
	return t.Call.Tool
}

func arguments(t *api.Ticket) string {
	if t.Call == nil {
		return ""
	}
	return short(string(t.Call.Arguments))
}

// decided says how many of the approvals that are needed there are, or how it ended.
func decided(t *api.Ticket) string {
	if !t.Open && len(t.Decisions) > 0 {
		return "by " + t.Decisions[len(t.Decisions)-1].By
	}
	n, need := 0, 1
	for _, d := range t.Decisions {
		if d.State == string(caxton.ApprovalGranted) {
			n++
		}
	}
	if t.Policy != nil {
		need = t.Policy.Need
	}
	return strconv.Itoa(n) + " of " + strconv.Itoa(need)
}
