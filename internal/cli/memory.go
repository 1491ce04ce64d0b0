package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

func newMemory(env *Env) *cobra.Command {
	return group("memory", "See, search and look after what agents remember",
		newMemoryStatus(env), newMemoryStats(env), newMemorySearch(env), newMemoryList(env), newMemoryShow(env), newMemoryAdd(env), newMemoryRelate(env),
		newMemoryForget(env), newMemoryGraph(env), newMemoryHistory(env), newMemoryRevert(env), newMemoryDuplicates(env),
		newMemoryOptimize(env), newMemoryMonitor(env), newMemoryDiagnose(env), newMemoryModelStatus(env), newMemoryModelStats(env),
		newMemoryLimits(env), newMemoryCapacity(env), newMemoryUsage(env), newMemoryCacheClear(env), newMemoryCleanup(env), newMemoryCheck(env),
		newMemoryProfile(env), newMemoryExport(env), newMemoryImport(env))
}

// A view is the flags by which memory is looked at.
type view struct {
	agent, valid, known string
	scopes              []string
}

// flags adds the flags of a view; those of time only where the past can be asked for.
func (v *view) flags(c *cobra.Command, past bool) {
	f := c.Flags()
	f.StringVar(&v.agent, "agent", "", "only what this `agent` sees")
	f.StringArrayVar(&v.scopes, "scope", nil, "only this `scope`: global, workspace:NAME or agent:NAME; more than once for several")
	if past {
		f.StringVar(&v.valid, "as-of", "", "as it was at this `time`: 2026-03-01, or 2026-03-01T15:04:05Z")
		f.StringVar(&v.known, "known-at", "", "as it was known at this `time`")
	}
}

func (v *view) read() (api.MemoryView, error) {
	valid, err := instant("--as-of", v.valid)
	if err != nil {
		return api.MemoryView{}, err
	}
	known, err := instant("--known-at", v.known)
	return api.MemoryView{Agent: v.agent, Scopes: v.scopes, ValidAt: valid, KnownAt: known}, err
}

// instant reads a time from a flag; zero for none.
func instant(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339Nano, time.DateOnly, "2006-01-02T15:04:05", time.DateTime} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errUsage("%s %q is not a time", flag, s).WithHint("write it like 2026-03-01 or 2026-03-01T15:04:05Z")
}

func newMemorySearch(env *Env) *cobra.Command {
	var v view
	var q api.MemorySearch
	var since, until string
	var explain bool
	c := &cobra.Command{
		Use: "search QUERY…", Short: "Search what is remembered, by words, meaning, connections and time", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := v.read()
			if err != nil {
				return err
			}
			if q.Since, err = instant("--since", since); err != nil {
				return err
			}
			if q.Until, err = instant("--until", until); err != nil {
				return err
			}
			q.Query, q.AgentID, q.Scope, q.ValidAt, q.KnownAt = strings.Join(args, " "), w.Agent, w.Scopes, w.ValidAt, w.KnownAt
			res, err := env.Client().SearchMemory(cmd.Context(), q)
			if err != nil {
				return err
			}
			if res.Degraded != "" {
				env.say("searched with less than asked for: %s", res.Degraded)
			}
			return env.Print(res, func(p *printer) { printMatches(p, &res, explain) })
		},
	}
	v.flags(c, true)
	f := c.Flags()
	f.IntVar(&q.Limit, "limit", 10, "entities at most")
	f.Float64Var(&q.MinSimilarity, "min-similarity", 0, "leave out what scores less, from 0 to 1")
	f.StringVar(&q.Mode, "mode", "hybrid", "hybrid, words or meaning")
	f.StringArrayVar(&q.Types, "type", nil, "only entities of this `type`; more than once for several")
	f.StringVar(&since, "since", "", "only what was true at this `time` or later")
	f.StringVar(&until, "until", "", "only what was true before this `time`")
	f.StringToStringVar(&q.Metadata, "metadata", nil, "only entities whose metadata has these values, as `key=value`")
	f.BoolVar(&q.IncludeRelations, "relations", false, "with what the entities are connected to")
	f.BoolVar(&explain, "explain", false, "say why each was found")
	return c
}

func printMatches(p *printer, res *api.MemoryMatches, explain bool) {
	if len(res.Items) == 0 {
		p.line("nothing is remembered that fits")
		return
	}
	p.row("SCORE", "ENTITY", "TYPE", "SCOPE", "WHAT")
	for i := range res.Items {
		m := &res.Items[i]
		p.row(score(m.Similarity), printable(m.Entity.Name), printable(m.Entity.Type), m.Entity.Scope, short(m.Content))
		if explain {
			for _, f := range m.Found {
				for _, s := range f.Signals {
					p.row("", "  "+s.Name, fmt.Sprintf("%s × %s", score(s.Score), score(s.Weight)), "raw "+number(s.Raw), f.ID+" "+printable(s.Detail))
				}
			}
		}
		for j := range m.Relations {
			r := &m.Relations[j]
			p.row("", "  "+printable(r.FromName), printable(r.Type), printable(r.ToName), r.ID)
		}
	}
}

func score(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }

func newMemoryList(env *Env) *cobra.Command {
	var v view
	var f api.EntityFilter
	c := &cobra.Command{
		Use: "list", Short: "List entities, most recently updated first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if f.MemoryView, err = v.read(); err != nil {
				return err
			}
			l, err := env.Client().Entities(cmd.Context(), f)
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("ENTITY", "NAME", "TYPE", "SCOPE", "IMPORTANCE", "UPDATED")
				for i := range l.Items {
					e := &l.Items[i]
					p.row(e.ID, printable(e.Name), printable(e.Type), e.Scope, score(e.Importance), moment(&e.UpdatedAt))
				}
				env.more(l.Next)
			})
		},
	}
	v.flags(c, true)
	c.Flags().StringArrayVar(&f.Types, "type", nil, "only entities of this `type`; more than once for several")
	c.Flags().IntVar(&f.Limit, "limit", 50, "entities at most")
	c.Flags().StringVar(&f.Cursor, "cursor", "", "go on where another page ended")
	return c
}

func newMemoryShow(env *Env) *cobra.Command {
	var v view
	c := &cobra.Command{
		Use: "show ENTITY", Short: "Show an entity and what is known about it", Args: exactly("ENTITY"),
		Long: "ENTITY is an ID or a name; of several of one name the one in the narrowest scope.",
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := v.read()
			if err != nil {
				return err
			}
			e, err := env.Client().Entity(cmd.Context(), args[0], w)
			if err != nil {
				return err
			}
			return env.Print(e, func(p *printer) { printEntity(p, &e) })
		},
	}
	v.flags(c, true)
	return c
}

func printEntity(p *printer, e *api.Entity) {
	p.row("Entity:", e.ID)
	p.row("Name:", printable(e.Name))
	p.row("Type:", printable(e.Type))
	p.row("Scope:", e.Scope)
	p.row("Importance:", score(e.Importance))
	if len(e.Metadata) > 0 {
		p.row("Metadata:", short(string(e.Metadata)))
	}
	p.row("Version:", strconv.FormatInt(e.Version, 10))
	p.row("Created:", moment(&e.CreatedAt))
	p.row("Updated:", moment(&e.UpdatedAt))
	if !e.ForgottenAt.IsZero() {
		p.row("Forgotten:", moment(&e.ForgottenAt))
	}
	for i := range e.Observations {
		o := &e.Observations[i]
		p.row("Known:", fmt.Sprintf("%s  %s", o.ID, observed(o)))
	}
}

// observed says an observation on one line.
func observed(o *api.Observation) string {
	text := short(o.Text)
	if o.Key != "" {
		text = printable(o.Key) + ": " + text
	}
	if !o.ValidFrom.IsZero() || !o.ValidTo.IsZero() {
		text += fmt.Sprintf(" (true %s)", strings.TrimSpace(bound("from ", o.ValidFrom)+bound(" to ", o.ValidTo)))
	}
	return text
}

func bound(word string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return word + moment(&t)
}

func newMemoryAdd(env *Env) *cobra.Command {
	var n api.NewEntity
	var o api.NewObservation
	var from, to, metadata string
	var importance, confidence float64
	c := &cobra.Command{
		Use: "add NAME [OBSERVATION…]", Short: "Remember an entity and what is known about it", Args: cobra.MinimumNArgs(1),
		Long: "NAME is the name of an entity; one that exists is added to. Each OBSERVATION is one thing known about it.\n" +
			"With --key a newer observation takes the place of the older one of the same key, which stays in the history.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.ValidFrom, err = instant("--valid-from", from); err != nil {
				return err
			}
			if o.ValidTo, err = instant("--valid-to", to); err != nil {
				return err
			}
			if cmd.Flags().Changed("confidence") {
				o.Confidence = &confidence
			}
			if cmd.Flags().Changed("importance") {
				n.Importance = &importance
			}
			if metadata != "" {
				n.Metadata = []byte(metadata)
			}
			n.Name, n.Observations = args[0], nil
			for _, text := range args[1:] {
				one := o
				one.Text = text
				n.Observations = append(n.Observations, one)
			}
			r, err := env.Client().Remember(cmd.Context(), n)
			if err != nil {
				return err
			}
			return env.Print(r, func(p *printer) {
				p.line("%s %s: %s", r.Status, r.ID, printable(r.Name))
				for _, k := range r.Noted {
					p.line("%s %s%s", k.Status, k.ID, superseded(k.Superseded))
				}
			})
		},
	}
	f := c.Flags()
	f.StringVar(&n.Type, "type", "", "what sort of thing it is, such as person")
	f.StringVar(&n.Scope, "scope", "", "global (the default), workspace:NAME or agent:NAME")
	f.StringVar(&n.AgentID, "agent", "", "remember it for this `agent`, where it writes")
	f.Float64Var(&importance, "importance", 0, "how much it matters, from 0 to 1")
	f.StringVar(&metadata, "metadata", "", "a `JSON` object to keep with it")
	f.StringVar(&o.Key, "key", "", "what the observation tells of it, such as address")
	f.Float64Var(&confidence, "confidence", 0, "how sure the observation is, from 0 to 1")
	f.StringVar(&from, "valid-from", "", "the `time` since when it is true")
	f.StringVar(&to, "valid-to", "", "the `time` until when it was true")
	f.StringVar(&o.Replaces, "replaces", "", "the `ID` of the observation whose place it takes")
	f.BoolVar(&n.CreateOnly, "create", false, "fail when the entity exists")
	return c
}

func superseded(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return ", in place of " + strings.Join(ids, ", ")
}

func newMemoryRelate(env *Env) *cobra.Command {
	var n api.NewRelation
	var strength float64
	var from string
	c := &cobra.Command{
		Use: "relate FROM TYPE TO", Short: "Remember that two entities are connected", Args: exactly("FROM", "TYPE", "TO"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if n.ValidFrom, err = instant("--valid-from", from); err != nil {
				return err
			}
			n.From, n.Type, n.To = args[0], args[1], args[2]
			if cmd.Flags().Changed("strength") {
				n.Strength = &strength
			}
			r, err := env.Client().Relate(cmd.Context(), n)
			if err != nil {
				return err
			}
			return env.Print(r, func(p *printer) {
				p.line("related %s: %s %s %s, strength %s", r.ID, printable(r.FromName), printable(r.Type), printable(r.ToName), score(r.Strength))
			})
		},
	}
	c.Flags().Float64Var(&strength, "strength", 0, "how close the connection is, from 0 to 1 (default 0.5)")
	c.Flags().StringVar(&from, "valid-from", "", "the `time` since when it holds")
	c.Flags().StringVar(&n.AgentID, "agent", "", "remember it for this `agent`")
	return c
}

func newMemoryForget(env *Env) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "forget ID|NAME", Short: "Forget an entity, an observation or a relation", Args: exactly("ID"),
		Long: "Forget an entity (ent_… or its name) with all that is known about it, an observation (obs_…) or a relation (rel_…).\n" +
			"The history keeps it: see caxton memory history, and --known-at of caxton memory show.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ref := args[0]
			forget := env.Client().ForgetEntity
			switch {
			case strings.HasPrefix(ref, "obs_"):
				forget = env.Client().ForgetObservation
			case strings.HasPrefix(ref, "rel_"):
				forget = env.Client().ForgetRelation
			default:
				if err := env.confirm(cmd.Context(), yes, fmt.Sprintf("Shall %s be forgotten, with all that is known about it?", printable(ref))); err != nil {
					return err
				}
			}
			ch, err := forget(cmd.Context(), ref)
			if err != nil {
				return err
			}
			return env.Print(ch, func(p *printer) { printChanged(p, &ch, "forgotten") })
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func printChanged(p *printer, ch *api.MemoryChanged, verb string) {
	p.line("%s: %d entities, %d observations, %d relations", verb, len(ch.Entities), len(ch.Observations), len(ch.Relations))
	for _, id := range ch.Observations {
		p.line("  %s", id)
	}
	if len(ch.Restored) > 0 {
		p.line("current again: %s", strings.Join(ch.Restored, ", "))
	}
}

func newMemoryGraph(env *Env) *cobra.Command {
	var v view
	var g api.GraphQuery
	var dot bool
	c := &cobra.Command{
		Use: "graph ENTITY", Short: "Show what is connected to an entity, or the shortest path to another", Args: exactly("ENTITY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if g.MemoryView, err = v.read(); err != nil {
				return err
			}
			res, err := env.Client().MemoryGraph(cmd.Context(), args[0], g)
			if err != nil {
				return err
			}
			if dot {
				return drawGraph(env, &res)
			}
			return env.Print(res, func(p *printer) { printGraph(p, &res) })
		},
	}
	v.flags(c, false)
	f := c.Flags()
	f.StringVar(&g.To, "to", "", "only the shortest path to this `entity`")
	f.IntVar(&g.Depth, "depth", 3, "how many steps to go, 1 to 10")
	f.StringArrayVar(&g.Types, "type", nil, "follow only relations of this `type`; more than once for several")
	f.StringVar(&g.Direction, "direction", "both", "outgoing, incoming or both")
	f.Float64Var(&g.MinStrength, "min-strength", 0, "follow only relations of at least this strength")
	f.IntVar(&g.Limit, "limit", 100, "entities at most")
	f.BoolVar(&g.DepthFirst, "depth-first", false, "go deep before wide")
	f.BoolVar(&dot, "dot", false, "print it in the language of Graphviz")
	return c
}

func printGraph(p *printer, g *api.MemoryGraph) {
	p.row("DEPTH", "ENTITY", "NAME", "TYPE")
	for i := range g.Graph.Nodes {
		n := &g.Graph.Nodes[i]
		p.row(strconv.Itoa(n.Depth), n.ID, printable(n.Name), printable(n.Type))
	}
	for i := range g.Graph.Edges {
		r := &g.Graph.Edges[i]
		p.line("%s %s %s (%s)", printable(r.FromName), printable(r.Type), printable(r.ToName), score(r.Strength))
	}
	if g.Stats.Truncated {
		p.line("there is more: raise --limit")
	}
}

// drawGraph prints a graph in the language of Graphviz.
func drawGraph(env *Env, g *api.MemoryGraph) error {
	var b strings.Builder
	b.WriteString("digraph memory {\n")
	for i := range g.Graph.Nodes {
		n := &g.Graph.Nodes[i]
		fmt.Fprintf(&b, "  %q [label=%q];\n", n.ID, n.Name)
	}
	for i := range g.Graph.Edges {
		r := &g.Graph.Edges[i]
		fmt.Fprintf(&b, "  %q -> %q [label=%q];\n", r.From, r.To, r.Type)
	}
	b.WriteString("}\n")
	_, err := env.Stdout.Write([]byte(b.String()))
	return err
}

func newMemoryHistory(env *Env) *cobra.Command {
	var v view
	c := &cobra.Command{
		Use: "history ENTITY", Short: "Show everything that happened to an entity, and who did it", Args: exactly("ENTITY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := v.read()
			if err != nil {
				return err
			}
			h, err := env.Client().EntityHistory(cmd.Context(), args[0], w)
			if err != nil {
				return err
			}
			return env.Print(h, func(p *printer) {
				p.row("AT", "WHAT", "BY", "ID", "DETAIL")
				for i := range h.Items {
					ch := &h.Items[i]
					id, text := "", ch.Detail
					switch {
					case ch.Observation != nil:
						id, text = ch.Observation.ID, cmp.Or(text, observed(ch.Observation))
					case ch.Relation != nil:
						id, text = ch.Relation.ID, cmp.Or(text, ch.Relation.FromName+" "+ch.Relation.Type+" "+ch.Relation.ToName)
					}
					p.row(moment(&ch.At), ch.Kind, printable(source(&ch.Provenance)), id, printable(text))
				}
			})
		},
	}
	v.flags(c, true)
	return c
}

// source says where something came from.
func source(p *api.Provenance) string {
	parts := []string{}
	for _, s := range []string{p.By, p.AgentID, p.Tool, p.MessageID} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " ")
}

func newMemoryRevert(env *Env) *cobra.Command {
	var r api.MemoryRevert
	var since, until string
	var yes bool
	c := &cobra.Command{
		Use: "revert [OBSERVATION…]", Short: "Take back what came from somewhere",
		Long: "Take back observations, by their IDs or by where they came from: an agent, a message, a conversation, a tool,\n" +
			"a person, a time. All that is said must agree. What they had superseded is current again. The history keeps them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if r.Since, err = instant("--since", since); err != nil {
				return err
			}
			if r.Until, err = instant("--until", until); err != nil {
				return err
			}
			r.Observations = args
			if !r.DryRun && len(args) == 0 {
				if err := env.foresee(cmd.Context(), r, yes); err != nil {
					return err
				}
			}
			ch, err := env.Client().RevertMemory(cmd.Context(), r)
			if err != nil {
				return err
			}
			return env.Print(ch, func(p *printer) { printChanged(p, &ch, would("reverted", r.DryRun)) })
		},
	}
	f := c.Flags()
	f.StringVar(&r.Entity, "entity", "", "only of this `entity`")
	f.StringVar(&r.AgentID, "agent", "", "what this `agent` remembered")
	f.StringVar(&r.MessageID, "message", "", "what was remembered when this `message` was handled")
	f.StringVar(&r.ConversationID, "conversation", "", "what was remembered in this `conversation`")
	f.StringVar(&r.Tool, "tool", "", "what was remembered by this `tool`")
	f.StringVar(&r.By, "by", "", "what this `person` or program remembered")
	f.StringVar(&since, "since", "", "what was remembered at this `time` or later")
	f.StringVar(&until, "until", "", "what was remembered before this `time`")
	f.StringVar(&r.Reason, "reason", "", "why, for the history")
	f.BoolVar(&r.DryRun, "dry-run", false, "tell what would be taken back, and change nothing")
	f.BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// foresee asks whether as much shall be taken back as would be.
func (e *Env) foresee(ctx context.Context, r api.MemoryRevert, yes bool) error {
	if yes {
		return nil
	}
	r.DryRun = true
	ch, err := e.Client().RevertMemory(ctx, r)
	if err != nil {
		return err
	}
	return e.confirm(ctx, false, fmt.Sprintf("Shall %d observations and %d relations be taken back?", len(ch.Observations), len(ch.Relations)))
}

func newMemoryDuplicates(env *Env) *cobra.Command {
	threshold, limit := 0.9, 50
	c := &cobra.Command{
		Use: "duplicates", Short: "List entities that may be the same", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := env.Client().DuplicateEntities(cmd.Context(), threshold, limit)
			if err != nil {
				return err
			}
			return env.Print(l, func(p *printer) {
				p.row("SCORE", "ENTITY", "NAME", "ENTITY", "NAME", "WHY")
				for i := range l.Items {
					d := &l.Items[i]
					p.row(score(d.Score), d.A.ID, printable(d.A.Name), d.B.ID, printable(d.B.Name), printable(d.Why))
				}
			})
		},
	}
	c.Flags().Float64Var(&threshold, "threshold", threshold, "how alike they must be, from 0 to 1")
	c.Flags().IntVar(&limit, "limit", limit, "pairs at most")
	return c
}

// span reads a duration from a flag, in which d stands for days.
func span(flag, s string) (time.Duration, error) {
	d, err := caxton.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, errUsage("%s %q is not a duration", flag, s).WithHint("write it like 30s, 10m or 30d")
	}
	return d, nil
}
