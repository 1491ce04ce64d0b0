package cli

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

func newWebhooks(env *Env) *cobra.Command {
	return group("webhooks", "Have addresses elsewhere be told of what happens", newWebhooksList(env), newWebhooksShow(env), newWebhooksCreate(env),
		newWebhooksDelete(env), newWebhooksEnable(env), newWebhooksRotate(env), newWebhooksTest(env), newWebhooksDeliveries(env))
}

func newWebhooksList(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the addresses that are told of records", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().Webhooks(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("WEBHOOK", "STATE", "SINCE", "EVENTS", "URL")
				for i := range l.Items {
					w := &l.Items[i]
					p.row(w.ID, w.Status, moment(&w.CreatedAt), chosen(w.Events), printable(w.URL))
				}
			})
		},
	}
}

func newWebhooksShow(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show one webhook", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := env.Client().Webhook(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(w, func(p *printer) { webhookTable(p, &w) })
		},
	}
}

func newWebhooksCreate(env *Env) *cobra.Command {
	var n api.NewWebhook
	var files []string
	c := &cobra.Command{
		Use: "create URL", Short: "Have an address be told of records from now on", Args: exactly("URL"),
		Long: "Have an address be told of records from now on, by requests that are signed with a secret.\n" +
			"Without --secret-file the server makes the secret. It is shown now and never again.",
		RunE: func(cmd *cobra.Command, args []string) error {
			n.URL = args[0]
			for _, f := range files {
				s, err := env.secretFile(f)
				if err != nil {
					return err
				}
				n.Secrets = append(n.Secrets, s)
			}
			w, err := env.Client().CreateWebhook(cmd.Context(), n)
			if err != nil {
				return err
			}
			return env.Print(w, func(p *printer) {
				webhookTable(p, &w)
				if len(files) > 0 {
					return // who gave the secret has it
				}
				for _, s := range w.Secrets {
					p.row("Secret:", s)
				}
				env.say("keep the secret: it is not shown again")
			})
		},
	}
	f := c.Flags()
	f.StringSliceVar(&n.Events, "event", nil, "only this `kind` of events, as settled or rollout; more than once for several (default: all)")
	f.StringArrayVar(&n.Agents, "agent", nil, "only what this `agent` does or is sent; more than once for several")
	f.StringArrayVar(&n.Conversations, "conversation", nil, "only this `conversation`; more than once for several")
	f.StringArrayVar(&files, "secret-file", nil, "`file` that holds a secret of your own; twice while it is changed: each signs")
	return c
}

func newWebhooksDelete(env *Env) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "delete ID", Short: "Forget a webhook and its deliveries", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := env.confirm(cmd.Context(), yes, fmt.Sprintf("Shall the webhook %s be deleted, with what it was not told yet?", args[0])); err != nil {
				return err
			}
			if err := env.Client().DeleteWebhook(cmd.Context(), args[0]); err != nil {
				return err
			}
			return env.Print(map[string]string{"id": args[0], "status": "deleted"}, func(p *printer) { p.line("%s deleted", args[0]) })
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func newWebhooksEnable(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "enable ID", Short: "Have a disabled webhook be told of records again, from now on", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := env.Client().EnableWebhook(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return env.Print(w, func(p *printer) { p.line("%s: %s", w.Status, w.ID) })
		},
	}
}

func newWebhooksRotate(env *Env) *cobra.Command {
	var r api.RotateWebhook
	var file string
	c := &cobra.Command{
		Use: "rotate ID", Short: "Give a webhook another secret", Args: exactly("ID"),
		Long: "Give a webhook another secret. Requests are signed with it and with the one before, until it is\n" +
			"rotated again: give the receiver the new one, then rotate with --drop-previous or leave it.\n" +
			"Without --secret-file the server makes the secret. It is shown now and never again.",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if file != "" {
				if r.Secret, err = env.secretFile(file); err != nil {
					return err
				}
			}
			w, err := env.Client().RotateWebhook(cmd.Context(), args[0], r)
			if err != nil {
				return err
			}
			return env.Print(w, func(p *printer) {
				p.line("the secret of %s was changed", w.ID)
				if file != "" {
					return // who gave the secret has it
				}
				for _, s := range w.Secrets {
					p.row("Secret:", s)
				}
				env.say("keep the secret: it is not shown again")
			})
		},
	}
	c.Flags().StringVar(&file, "secret-file", "", "`file` that holds a secret of your own")
	c.Flags().BoolVar(&r.DropPrevious, "drop-previous", false, "do not sign with the one before as well: it is known to somebody else")
	return c
}

// secretFile returns the secret that a file holds.
func (env *Env) secretFile(name string) (string, error) {
	text, err := os.ReadFile(env.path(name))
	if err != nil {
		return "", caxton.Errorf(caxton.NotFound, "file_unreadable", "%s cannot be read", name).
			WithHint("name a file that holds only the secret").WithCause(err)
	}
	return strings.TrimSpace(string(text)), nil
}

func newWebhooksTest(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "test ID", Short: "Send a webhook one request, and tell what came of it", Args: exactly("ID"),
		Long: "Send a webhook one signed request of the type test, and tell what came of it. The exit code is 1\n" +
			"when the receiver did not take it. It is not tried again.",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := env.Client().TestWebhook(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := env.Print(d, func(p *printer) { p.line("%s: %s", d.Status, outcome(&d)) }); err != nil {
				return err
			}
			if d.Status != string(caxton.WebhookDelivered) {
				return exitCode(1)
			}
			return nil
		},
	}
}

func newWebhooksDeliveries(env *Env) *cobra.Command {
	var status, cursor string
	var limit int
	c := &cobra.Command{
		Use: "deliveries ID", Short: "List what a webhook was told and is to be told, newest first", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := env.Client().WebhookDeliveries(cmd.Context(), args[0], status, limit, cursor)
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("DELIVERY", "EVENT", "STATE", "ATTEMPTS", "SINCE", "NEXT TRY", "CONVERSATION", "LAST ANSWER")
				for i := range l.Items {
					d := &l.Items[i]
					p.row(d.ID, d.Event, d.Status, strconv.Itoa(d.AttemptCount), moment(&d.CreatedAt), moment(d.Due), printable(d.ConversationID), outcome(d))
				}
				env.more(l.Next)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&status, "status", "", "only those that are pending, delivered or failed")
	f.IntVar(&limit, "limit", 50, "how `many`, 1 to 200")
	f.StringVar(&cursor, "cursor", "", "`cursor` of the page before")
	return c
}

// webhookTable prints all about a webhook for people, but for its secrets.
func webhookTable(p *printer, w *api.Webhook) {
	p.row("ID:", w.ID)
	p.row("URL:", printable(w.URL))
	p.row("State:", w.Status)
	if w.Reason != "" {
		p.row("Why:", w.Reason)
	}
	p.row("Since:", moment(&w.CreatedAt))
	p.row("Made by:", map[bool]string{true: "the configuration", false: "a request"}[w.Declared])
	p.row("Events:", chosen(w.Events))
	p.row("Agents:", chosen(w.Agents))
	p.row("Conversations:", chosen(w.Conversations))
}

// chosen lists what a webhook is told of; nothing means all.
func chosen(names []string) string { return cmp.Or(printable(strings.Join(names, ", ")), "all") }

// outcome tells how the last attempt ended.
func outcome(d *api.WebhookDelivery) string {
	if len(d.Attempts) == 0 {
		return ""
	}
	a := &d.Attempts[len(d.Attempts)-1]
	if a.Error != "" {
		return short(printable(a.Error))
	}
	return fmt.Sprintf("the receiver answered %d", a.Status)
}
