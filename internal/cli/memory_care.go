package cli

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

// grouped prints a number with commas: 85,000.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// megabytes prints bytes as the operations guide does: 1.2MB, 203MB.
func megabytes(n int64) string {
	mb := float64(n) / (1 << 20)
	if mb < 100 {
		return strconv.FormatFloat(mb, 'f', 1, 64) + "MB"
	}
	return strconv.FormatFloat(math.Round(mb), 'f', 0, 64) + "MB"
}

// shares prints a number from 0 to 1 as per cent.
func shares(f float64, digits int) string { return strconv.FormatFloat(f*100, 'f', digits, 64) + "%" }

// milliseconds prints a number of milliseconds.
func milliseconds(f float64) string {
	if f < 10 {
		return strconv.FormatFloat(f, 'f', 1, 64) + "ms"
	}
	return strconv.FormatFloat(f, 'f', 0, 64) + "ms"
}

// would is the word for what was done, or would be.
func would(done string, dryRun bool) string {
	if dryRun {
		return "would be " + done
	}
	return done
}

func newMemoryStatus(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show memory at a glance", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := env.Client().MemoryStatus(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(s, func(p *printer) {
				p.line("SQLite database: %s (%s)", s.SQLiteStatus, megabytes(s.SQLiteSizeBytes))
				p.line("Embedding model: %s %s", s.EmbeddingModel, s.ModelStatus)
				p.line("Entities: %s stored", grouped(s.Entities))
				p.line("Relations: %s connections", grouped(s.Relations))
				p.line("Vector cache: %s hit rate", shares(s.CacheHitRate, 0))
				if s.Unembedded > 0 {
					p.line("Waiting for their embedding: %s texts", grouped(s.Unembedded))
				}
				if g := s.Progress; g != nil {
					p.line("At work: %s, %s", g.Step, portion(g))
				}
				if d := s.Download; d != nil {
					p.line("Downloading: %s, %s", d.Model, fetched(d))
				}
				if s.Status != "healthy" {
					p.line("Status: %s", strings.TrimSpace(s.Status+" "+s.Reason))
				}
			})
		},
	}
}

// portion says how far a job is.
func portion(g *api.MemoryProgress) string {
	if g.Total <= 0 {
		return grouped(g.Done)
	}
	return fmt.Sprintf("%s of %s", grouped(g.Done), grouped(g.Total))
}

// fetched says how far a download is.
func fetched(d *api.ModelDownload) string {
	if d.TotalBytes <= 0 {
		return d.File + " " + megabytes(d.DoneBytes)
	}
	return fmt.Sprintf("%s %s of %s (%d%%)", d.File, megabytes(d.DoneBytes), megabytes(d.TotalBytes), d.Percent)
}

func newMemoryStats(env *Env) *cobra.Command {
	var detailed bool
	c := &cobra.Command{
		Use: "stats", Short: "Compare the figures of memory with what they are to be", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := env.Client().MemoryStats(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(s, func(p *printer) {
				if detailed {
					printFigures(p, &s)
					return
				}
				p.row("METRIC", "TARGET", "ACTUAL", "STATUS")
				for _, t := range s.Targets {
					actual, mark := "-", "not measured yet"
					if t.Status != "unknown" {
						actual = strconv.FormatFloat(t.Actual, 'f', 1, 64) + t.Unit
						mark = map[string]string{"ok": "✓ OK", "degraded": "✗ DEGRADED"}[t.Status]
					}
					p.row(t.Metric, strconv.FormatFloat(t.Target, 'f', 0, 64)+t.Unit, actual, mark)
				}
			})
		},
	}
	c.Flags().BoolVar(&detailed, "detailed", false, "all the figures")
	return c
}

func printFigures(p *printer, s *api.MemoryStats) {
	p.line("SQLite Performance:")
	p.line("  Cache hit rate: %s", shares(s.SQLite.CacheHitRate, 1))
	p.line("  Average query time: %s", milliseconds(s.SQLite.AverageMillis))
	p.line("  Database size: %s", megabytes(s.SQLite.Bytes))
	p.line("  Fragmentation: %s", shares(s.SQLite.Fragmentation, 1))
	p.line("")
	p.line("Embedding Performance:")
	p.line("  Model load time: %s", milliseconds(s.Model.LoadMillis))
	p.line("  Average encoding time: %s", milliseconds(s.Model.AverageMillis))
	p.line("  Cache hit rate: %s", shares(s.Model.Cache.HitRate, 1))
	p.line("  Memory usage: %s", megabytes(s.Model.Bytes+s.Model.Cache.Bytes))
	p.line("")
	for _, q := range s.Queries {
		p.line("%s P99: %s (%s queries)", latency(q.Kind), milliseconds(q.P99Millis), grouped(q.Count))
	}
	p.line("Storage usage: %s total", megabytes(s.SQLite.Bytes))
	p.line("Memory baseline: %s (embedding model)", megabytes(s.Model.Bytes))
	p.line("Vectors: %s, %s in memory", grouped(int64(s.Vectors)), megabytes(s.IndexBytes))
	p.line("Entities: %s, observations: %s, relations: %s, past observations: %s",
		grouped(s.Status.Entities), grouped(s.Status.Observations), grouped(s.Status.Relations), grouped(s.Past))
}

// latency names what a kind of query takes, as the operations guide does: "Semantic search
// latency", and "Graph traversal" alone.
func latency(kind string) string {
	words := strings.ReplaceAll(kind, "_", " ")
	if words == "" {
		return ""
	}
	words = strings.ToUpper(words[:1]) + words[1:]
	if kind == "graph_traversal" {
		return words
	}
	return words + " latency"
}

func newMemoryOptimize(env *Env) *cobra.Command {
	var o api.MemoryOptimize
	var vacuum, rebuild bool
	c := &cobra.Command{
		Use: "optimize", Short: "Compact the database, make its indexes anew, refresh its statistics", Args: exactly(),
		Long: "Compact the database, make its indexes anew, and refresh its statistics. Without a flag all of it is done.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Vacuum, o.Reindex = o.Vacuum || vacuum, o.Reindex || rebuild
			done, err := withProgress(cmd.Context(), env, func(ctx context.Context) (api.MemoryOptimized, error) { return env.Client().OptimizeMemory(ctx, o) })
			if err != nil {
				return err
			}
			return env.Print(done, func(p *printer) {
				for _, s := range done.Steps {
					p.row(s.Name, milliseconds(s.Millis))
				}
				p.row("freed", megabytes(done.FreedBytes))
			})
		},
	}
	f := c.Flags()
	f.BoolVar(&o.Vacuum, "vacuum", false, "compact the file")
	f.BoolVar(&vacuum, "vacuum-sqlite", false, "the same as --vacuum")
	f.BoolVar(&o.Reindex, "reindex", false, "make the indexes anew")
	f.BoolVar(&rebuild, "rebuild-index", false, "the same as --reindex")
	f.BoolVar(&o.Analyze, "analyze", false, "refresh the statistics by which queries are planned")
	return c
}

// withProgress does a job of the server's and shows meanwhile, on a terminal, how far it is.
func withProgress[T any](ctx context.Context, env *Env, do func(context.Context) (T, error)) (T, error) {
	if !terminal(env.Stderr) {
		return do(ctx)
	}
	watch, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-watch.Done():
				return
			case <-tick.C:
			}
			if s, err := env.Client().MemoryStatus(watch); err == nil && s.Progress != nil {
				_, _ = fmt.Fprintf(env.Stderr, "\r\x1b[K%s: %s", safe(env.Stderr, s.Progress.Step), portion(s.Progress))
			}
		}
	}()
	out, err := do(ctx)
	stop()
	<-done
	_, _ = fmt.Fprint(env.Stderr, "\r\x1b[K")
	return out, err
}

func newMemoryMonitor(env *Env) *cobra.Command {
	var slow bool
	var least string
	c := &cobra.Command{
		Use: "monitor", Short: "Follow the queries of memory until interrupted", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var over time.Duration
			var err error
			if least != "" {
				if over, err = span("--slower-than", least); err != nil {
					return err
				}
			}
			if slow && over == 0 {
				over = 100 * time.Millisecond
			}
			err = env.Client().FollowQueries(cmd.Context(), over, func(q api.SlowQuery) error {
				return env.PrintNext(q, func(p *printer) {
					p.line("%s  %s  %s  %s", q.At.Local().Format("15:04:05.000"), q.Kind, milliseconds(q.Millis), short(q.Text))
				})
			})
			if cmd.Context().Err() != nil {
				return nil //nolint:nilerr // Ctrl-C ends it
			}
			return err
		},
	}
	c.Flags().BoolVar(&slow, "show-slow-queries", false, "only those that take longer than 100 ms")
	c.Flags().StringVar(&least, "slower-than", "", "only those that take longer than this `duration`")
	return c
}

func newMemoryDiagnose(env *Env) *cobra.Command {
	var slow bool
	c := &cobra.Command{
		Use: "diagnose", Short: "Show what queries took, by kind", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := env.Client().SlowQueries(cmd.Context(), 20)
			if err != nil {
				return err
			}
			return env.Print(q, func(p *printer) {
				printKinds(p, q.Queries)
				if !slow {
					return
				}
				p.line("")
				p.row("AT", "QUERY-TYPE", "LATENCY", "QUERY")
				for _, s := range q.Items {
					p.row(moment(&s.At), s.Kind, milliseconds(s.Millis), short(s.Text))
				}
			})
		},
	}
	c.Flags().BoolVar(&slow, "show-slow-queries", false, "also the slow queries of late")
	return c
}

func printKinds(p *printer, kinds []api.MemoryQueries) {
	p.row("QUERY-TYPE", "AVG-LATENCY", "COUNT", "P99", "MAX")
	for _, k := range kinds {
		p.row(k.Kind, milliseconds(k.AverageMillis), grouped(k.Count), milliseconds(k.P99Millis), milliseconds(k.MaxMillis))
	}
}

func newMemoryModelStatus(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "model-status", Short: "Show how the embedding model is", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := env.Client().MemoryModel(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(m, func(p *printer) {
				p.row("Model:", m.Name)
				p.row("Status:", m.Status)
				p.row("In use:", m.Model)
				p.row("Source:", m.Source)
				p.row("Dimensions:", strconv.Itoa(m.Dimensions))
				p.row("Load time:", milliseconds(m.LoadMillis))
				p.row("Memory:", megabytes(m.Bytes))
				if m.Fallback != "" {
					p.row("Instead of the configured one:", m.Fallback)
				}
				if m.Download != nil {
					p.row("Downloading:", fetched(m.Download))
				}
			})
		},
	}
}

func newMemoryModelStats(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "model-stats", Short: "Show the figures of the embedding model", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := env.Client().MemoryModel(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(m, func(p *printer) {
				p.line("MODEL: %s", m.Name)
				p.line("MEMORY: %s (baseline: %s)", megabytes(m.Bytes+m.Cache.Bytes), megabytes(m.Bytes))
				p.line("CACHE_HIT_RATE: %s (target: >85%%)", shares(m.Cache.HitRate, 0))
				p.line("CACHE: %s of %s embeddings", grouped(int64(m.Cache.Entries)), grouped(int64(m.Cache.Limit)))
				p.line("TEXTS: %s, %s each, P99 %s", grouped(m.Texts), milliseconds(m.AverageMillis), milliseconds(m.P99Millis))
			})
		},
	}
}

func newMemoryLimits(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "limits-check", Short: "Show how many of the recommended entities there are", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := env.Client().MemoryCapacity(cmd.Context())
			if err != nil {
				return err
			}
			return env.Print(m, func(p *printer) {
				p.line("Entity count: %s / %s (%d%% of recommended limit)", grouped(m.Entities), grouped(int64(m.Limit)), m.Percent)
				if m.Status != "ok" {
					p.line("WARNING: Consider external backend migration")
					p.line("(%s)", m.Advice)
				}
			})
		},
	}
}

func newMemoryCapacity(env *Env) *cobra.Command {
	var percentage bool
	c := &cobra.Command{
		Use: "capacity-check", Short: "Show how full memory is", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := env.Client().MemoryCapacity(cmd.Context())
			if err != nil {
				return err
			}
			if percentage {
				return env.figure(m.Percent)
			}
			return env.Print(m, func(p *printer) {
				near := ""
				switch {
				case m.Percent >= 100:
					near = " - limit reached"
				case m.Status != "ok":
					near = " - approaching limit"
				}
				p.line("ENTITIES: %s / %s (%d%%%s)", grouped(m.Entities), grouped(int64(m.Limit)), m.Percent, near)
			})
		},
	}
	c.Flags().BoolVar(&percentage, "percentage", false, "only the percentage, as a bare number")
	return c
}

// figure prints one bare number, for scripts that compare it.
func (e *Env) figure(n int) error {
	_, err := fmt.Fprintln(e.Stdout, n)
	return err
}

func newMemoryUsage(env *Env) *cobra.Command {
	var percentage, detailed bool
	c := &cobra.Command{
		Use: "usage", Short: "Show what memory takes", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := env.Client().MemoryUsage(cmd.Context())
			if err != nil {
				return err
			}
			if percentage {
				return env.figure(u.Percent)
			}
			return env.Print(u, func(p *printer) {
				if !detailed {
					var sum int64
					for _, c := range u.Components {
						sum += c.UsageBytes
					}
					p.line("%s in use, %d%% of the part that is closest to its limit", megabytes(sum), u.Percent)
					return
				}
				p.row("COMPONENT", "USAGE", "LIMIT", "STATUS")
				for _, c := range u.Components {
					limit := "-"
					if c.LimitBytes > 0 {
						limit = megabytes(c.LimitBytes)
					}
					p.row(c.Component, megabytes(c.UsageBytes), limit, c.Status)
				}
			})
		},
	}
	c.Flags().BoolVar(&detailed, "detailed", false, "part by part")
	c.Flags().BoolVar(&percentage, "percentage", false, "only the percentage of the part closest to its limit, as a bare number")
	return c
}

func newMemoryCacheClear(env *Env) *cobra.Command {
	var m api.MemoryCacheClear
	c := &cobra.Command{
		Use: "cache-clear", Short: "Drop kept embeddings", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			done, err := withProgress(cmd.Context(), env, func(ctx context.Context) (api.MemoryCacheCleared, error) {
				return env.Client().ClearMemoryCache(ctx, m)
			})
			if err != nil {
				return err
			}
			return env.Print(done, func(p *printer) {
				p.line("cleared: %s embeddings, %s answers; rebuilt: %s", grouped(int64(done.Embeddings)), grouped(int64(done.Results)), grouped(int64(done.Rebuilt)))
			})
		},
	}
	c.Flags().BoolVar(&m.All, "all", false, "also the answers to searches")
	c.Flags().BoolVar(&m.Rebuild, "rebuild", false, "embed again what was kept")
	return c
}

func newMemoryCleanup(env *Env) *cobra.Command {
	var m api.MemoryCleanup
	var force bool
	c := &cobra.Command{
		Use: "cleanup", Short: "Remove for good what is not wanted any more", Args: exactly(),
		Long: "Remove for good what is not wanted any more. What is removed is in no history and cannot be brought back.\n" +
			"--aggressive removes orphans, everything that is past, and what was not updated for 7 days and is not important.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if m.Aggressive && !m.DryRun {
				if err := env.confirm(cmd.Context(), force, "Shall everything that is past, and what was not updated for 7 days and is not important, be removed for good?"); err != nil {
					return err
				}
			}
			done, err := env.Client().CleanMemory(cmd.Context(), m)
			if err != nil {
				return err
			}
			return env.Print(done, func(p *printer) {
				p.line("%s: %s entities, %s observations, %s relations, %s embeddings, %s orphans", would("removed", done.DryRun), grouped(done.Entities),
					grouped(done.Observations), grouped(done.Relations), grouped(done.Embeddings), grouped(done.Orphans))
			})
		},
	}
	f := c.Flags()
	f.BoolVar(&m.Orphaned, "remove-orphaned", false, "what belongs to nothing any more")
	f.StringVar(&m.OlderThan, "older-than", "", "what was not updated for this `duration`, as 30d, and is not important")
	f.StringVar(&m.PastFor, "past-for", "", "what was superseded, reverted or forgotten this `duration` ago")
	f.Float64Var(&m.KeepFrom, "keep-importance", 0, "importance from which age does not matter (default 0.8)")
	f.StringVar(&m.Scope, "scope", "", "only this scope")
	f.IntVar(&m.MaxEntities, "max-entities", 0, "keep at most so many of the scope")
	f.BoolVar(&m.Aggressive, "aggressive", false, "all of it at once")
	f.BoolVar(&m.DryRun, "dry-run", false, "tell what would be removed, and change nothing")
	f.BoolVar(&force, "force", false, "do not ask")
	f.BoolVar(&force, "yes", false, "the same as --force")
	return c
}

func newMemoryCheck(env *Env) *cobra.Command {
	var deep bool
	c := &cobra.Command{
		Use: "check", Short: "Check that the database is sound and its indexes agree with it", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := withProgress(cmd.Context(), env, func(ctx context.Context) (api.MemoryCheck, error) { return env.Client().CheckMemory(ctx, deep) })
			if err != nil {
				return err
			}
			if err := env.Print(m, func(p *printer) {
				if m.OK {
					p.line("ok")
				}
				for _, f := range m.Faults {
					p.line("%s", f)
				}
			}); err != nil || m.OK {
				return err
			}
			return exitCode(1)
		},
	}
	c.Flags().BoolVar(&deep, "deep", false, "compare every text and vector")
	return c
}

// A profile is what was seen of memory for a while.
type profile struct {
	Seconds    float64             `json:"seconds"`
	Queries    []api.MemoryQueries `json:"queries"`
	Texts      int64               `json:"texts_embedded"`
	CacheHits  int64               `json:"cache_hits"`
	CacheMiss  int64               `json:"cache_misses"`
	EntitiesUp int64               `json:"entities_added"`
	Slowest    []api.SlowQuery     `json:"slowest,omitempty"`
}

func newMemoryProfile(env *Env) *cobra.Command {
	var duration string
	var queries bool
	c := &cobra.Command{
		Use: "profile", Short: "Watch memory for a while and report", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := span("--duration", duration)
			if err != nil {
				return err
			}
			report, err := env.watchMemory(cmd.Context(), d, queries)
			if err != nil {
				return err
			}
			return env.Print(report, func(p *printer) {
				printKinds(p, report.Queries)
				p.line("")
				p.line("texts embedded: %s; cache: %s hits, %s misses; entities added: %s",
					grouped(report.Texts), grouped(report.CacheHits), grouped(report.CacheMiss), grouped(report.EntitiesUp))
				for i, q := range report.Slowest {
					if i == 0 {
						p.line("")
						p.row("LATENCY", "QUERY-TYPE", "QUERY")
					}
					p.row(milliseconds(q.Millis), q.Kind, short(q.Text))
				}
			})
		},
	}
	c.Flags().StringVar(&duration, "duration", "60s", "how long to watch")
	c.Flags().BoolVar(&queries, "include-queries", false, "also the slowest queries")
	return c
}

// watchMemory gathers the queries of a while, or until interrupted.
func (e *Env) watchMemory(ctx context.Context, d time.Duration, queries bool) (profile, error) {
	before, err := e.Client().MemoryStats(ctx)
	if err != nil {
		return profile{}, err
	}
	e.say("watching memory for %s; Ctrl-C ends it early", d)
	start := time.Now()
	within, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var seen []api.SlowQuery
	err = e.Client().FollowQueries(within, 0, func(q api.SlowQuery) error {
		seen = append(seen, q)
		return nil
	})
	if within.Err() == nil && err != nil {
		return profile{}, err
	}
	took := time.Since(start)
	after, err := e.Client().MemoryStats(context.WithoutCancel(ctx)) // interrupted: what was seen is told
	if err != nil {
		return profile{}, err
	}
	out := profile{
		Seconds: took.Seconds(), Queries: kindsOf(seen), Texts: after.Model.Texts - before.Model.Texts,
		CacheHits: after.Model.Cache.Hits - before.Model.Cache.Hits, CacheMiss: after.Model.Cache.Misses - before.Model.Cache.Misses,
		EntitiesUp: after.Status.Entities - before.Status.Entities,
	}
	if queries {
		slices.SortStableFunc(seen, func(a, b api.SlowQuery) int { return cmp.Compare(b.Millis, a.Millis) })
		out.Slowest = seen[:min(len(seen), 20)]
	}
	return out, nil
}

// kindsOf sums queries up by kind.
func kindsOf(all []api.SlowQuery) []api.MemoryQueries {
	byKind := map[string][]float64{}
	for _, q := range all {
		byKind[q.Kind] = append(byKind[q.Kind], q.Millis)
	}
	out := []api.MemoryQueries{}
	for kind, ms := range byKind {
		slices.Sort(ms)
		sum := 0.0
		for _, m := range ms {
			sum += m
		}
		n := len(ms)
		out = append(out, api.MemoryQueries{
			Kind: kind, Count: int64(n), AverageMillis: sum / float64(n), P99Millis: ms[max(0, (n*99+99)/100-1)], MaxMillis: ms[n-1],
		})
	}
	slices.SortFunc(out, func(a, b api.MemoryQueries) int { return strings.Compare(a.Kind, b.Kind) })
	return out
}
