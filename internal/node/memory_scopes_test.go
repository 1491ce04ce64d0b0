package node_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caxton/caxton/api"
)

// A secretKeeper is an agent of the scopes test.
type secretKeeper struct {
	slug, kind, workspace string
	mute                  bool // it has no memory
}

func (k *secretKeeper) scope(kind string) string {
	switch kind {
	case "agent":
		return "agent:" + k.slug
	case "workspace":
		return "workspace:" + k.workspace
	}
	return kind
}

// scopes returns what it sees, narrowest first.
func (k *secretKeeper) scopes() []string {
	all := []string{"agent", "workspace", "global"}
	var out []string
	for _, kind := range all[:slices.Index(all, k.kind)+1] {
		out = append(out, k.scope(kind))
	}
	return out
}

// A secret is a fact in one scope that no other text has.
type secret struct {
	word, scope, place string
}

var secretForm = regexp.MustCompile(`zq[0-9]+x`)

// scopesRun is the model that the server is held to: who may know which word.
type scopesRun struct {
	t       *testing.T
	c       *api.Client
	o       *oracle
	rnd     *rand.Rand
	keepers []secretKeeper
	places  []string
	all     map[string]secret // current ones, by word
	past    map[string]secret // forgotten ones
	edges   map[string]bool   // relations: scope of the ends and their names
	n       int
}

// TestMemoryScopes lets agents of all scopes store, search, relate and forget in random
// order, by their tools and over the API, and looks at all that comes back, to the models too:
// nothing of a scope is ever in what somebody sees who is not in it, and everything is in
// what somebody lists who is.
func TestMemoryScopes(t *testing.T) {
	steps := 150
	switch {
	case os.Getenv("CAXTON_SOAK") != "":
		steps = 3000
	case testing.Short():
		steps = 40
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d steps", seed, steps)
	dir := t.TempDir()
	r := &scopesRun{
		t: t, o: newOracle(t), rnd: rand.New(rand.NewPCG(seed, 3)), places: []string{"Vault", "Harbour", "Library"},
		all: map[string]secret{}, past: map[string]secret{}, edges: map[string]bool{},
		keepers: []secretKeeper{
			{slug: "alone-a", kind: "agent", workspace: "default"},
			{slug: "alone-b", kind: "agent", workspace: "default"},
			{slug: "red-a", kind: "workspace", workspace: "red"},
			{slug: "red-b", kind: "workspace", workspace: "red"},
			{slug: "blue-a", kind: "workspace", workspace: "blue"},
			{slug: "all-a", kind: "global", workspace: "default"},
			{slug: "all-b", kind: "global", workspace: "red"},
			{slug: "mute-a", kind: "agent", workspace: "red", mute: true},
		},
	}
	for _, k := range r.keepers {
		text := rememberer(k.slug, "scope: "+k.kind, "workspace: "+k.workspace, "search: {max_results: 40, cache_ttl: 1m}")
		if k.mute {
			text = strings.Replace(text, "enabled: true", "enabled: false", 1)
		}
		put(t, dir, map[string]string{"agents/" + k.slug + ".md": text})
	}
	r.c, _, _ = run(t, dir, r.o.flags()...)
	for range steps {
		k := &r.keepers[r.rnd.IntN(len(r.keepers))]
		switch n := r.rnd.IntN(20); {
		case n < 6:
			r.store(k)
		case n < 10:
			r.search(k)
		case n < 12:
			r.talk(k)
		case n < 14:
			r.relate(k)
		case n < 16:
			r.forget(k)
		default:
			r.look(k)
		}
		if t.Failed() {
			return
		}
	}
	for i := range r.keepers {
		r.look(&r.keepers[i])
	}
	if check, err := r.c.CheckMemory(t.Context(), true); err != nil || !check.OK {
		t.Errorf("check: %+v, %v", check, err)
	}
	t.Logf("%d facts, %d forgotten, %d relations", len(r.all), len(r.past), len(r.edges))
}

// visible returns the words that an agent may know.
func (r *scopesRun) visible(k *secretKeeper) map[string]bool {
	words := map[string]bool{}
	if !k.mute {
		for w, s := range r.all {
			if slices.Contains(k.scopes(), s.scope) {
				words[w] = true
			}
		}
	}
	return words
}

// hold looks for words in a text that an agent must not know.
func (r *scopesRun) hold(k *secretKeeper, what, text string) {
	r.t.Helper()
	may := r.visible(k)
	for _, w := range secretForm.FindAllString(text, -1) {
		if s, there := r.all[w]; !may[w] {
			r.t.Errorf("%s of %s has %s of %v (current %t): %s", what, k.slug, w, s, there, text)
			return
		}
	}
}

// use has an agent use a tool and returns what its model reads of it. own are words that the
// call itself has.
func (r *scopesRun) use(k *secretKeeper, tool, args string, own ...string) string {
	r.t.Helper()
	r.n++
	word := fmt.Sprintf("errand-%d", r.n)
	r.o.when(word, tool, args)
	r.o.taken()
	say(r.t, r.c, k.slug, "", word+" about the code word of the "+r.place())
	asked := r.o.taken()
	var req struct {
		Messages []struct{ Role, Content string }
	}
	if len(asked) != 2 || json.Unmarshal([]byte(asked[1]), &req) != nil {
		r.t.Fatalf("%s of %s: the model is asked %s", tool, k.slug, asked)
	}
	for _, text := range asked {
		for _, w := range own {
			text = strings.ReplaceAll(text, w, "")
		}
		r.hold(k, "a prompt", text)
	}
	return req.Messages[len(req.Messages)-1].Content
}

func (r *scopesRun) place() string { return r.places[r.rnd.IntN(len(r.places))] }

func (r *scopesRun) store(k *secretKeeper) {
	r.t.Helper()
	r.n++
	word := fmt.Sprintf("zq%dx", r.n)
	place := r.place()
	kind := []string{"agent", "workspace", "global", ""}[r.rnd.IntN(4)]
	s := secret{word: word, place: place, scope: k.scope(kind)}
	if kind == "" {
		s.scope = k.scope(k.kind)
	}
	fact := "The code word of the " + place + " is " + word + "."
	may := slices.Contains(k.scopes(), s.scope)
	if !k.mute && r.rnd.IntN(2) == 0 { // over the API
		scope := s.scope
		if kind == "" {
			scope = ""
		}
		got, err := r.c.Remember(r.t.Context(), api.NewEntity{Name: place, AgentID: k.slug, Scope: scope, Observations: []api.NewObservation{{Text: fact}}})
		if (err == nil) != may {
			r.t.Errorf("%s stores in %s: %v", k.slug, s.scope, err)
		}
		if err == nil {
			r.all[word] = s
			r.hold(k, "the answer to a write", fmt.Sprint(got))
		}
		return
	}
	args := fmt.Sprintf(`{"entity":%q,"fact":%q,"scope":%q}`, place, fact, kind)
	if kind == "" {
		args = fmt.Sprintf(`{"entity":%q,"fact":%q}`, place, fact)
	}
	got := r.use(k, "memory_store", args, word)
	if stored := strings.HasPrefix(got, "Remembered"); stored != (may && !k.mute) {
		r.t.Errorf("%s stores in %s: %s", k.slug, s.scope, got)
	} else if stored {
		r.all[word] = s
	}
}

func (r *scopesRun) search(k *secretKeeper) {
	r.t.Helper()
	place := r.place()
	got := r.use(k, "memory_search", fmt.Sprintf(`{"query":"code word of the %s","limit":50}`, place))
	r.hold(k, "a search by the tool", got)
	if k.mute {
		if !strings.Contains(got, "has no memory") {
			r.t.Errorf("an agent without memory searches: %s", got)
		}
		return
	}
	m, err := r.c.SearchMemory(r.t.Context(), api.MemorySearch{Query: "code word of the " + place, AgentID: k.slug, Limit: 50, IncludeRelations: true})
	if err != nil {
		r.t.Fatal(err)
	}
	r.hold(k, "a search over the API", fmt.Sprint(m))
	if len(m.Items) == 0 {
		for w := range r.visible(k) {
			if r.all[w].place == place {
				r.t.Errorf("%s finds nothing and sees %s", k.slug, w)
			}
		}
	}
	for i := range m.Items {
		r.within(k, "a search", m.Items[i].Entity.Scope)
		for j := range m.Items[i].Relations {
			r.within(k, "a relation of a search", m.Items[i].Relations[j].Scope)
		}
	}
}

// within holds a scope in an answer to those that an agent sees.
func (r *scopesRun) within(k *secretKeeper, what, scope string) {
	r.t.Helper()
	if strings.HasPrefix(scope, "agent:") {
		a, err := r.c.Agent(r.t.Context(), k.slug)
		if err != nil {
			r.t.Fatal(err)
		}
		if scope == "agent:"+a.ID {
			return
		}
	}
	if !slices.Contains(k.scopes(), scope) {
		r.t.Errorf("%s of %s has something of %s", what, k.slug, scope)
	}
}

func (r *scopesRun) talk(k *secretKeeper) {
	r.t.Helper()
	r.o.taken()
	say(r.t, r.c, k.slug, "", "What is the code word of the "+r.place()+"?")
	for _, text := range r.o.taken() {
		r.hold(k, "a prompt", text)
	}
}

func (r *scopesRun) relate(k *secretKeeper) {
	r.t.Helper()
	from, to := r.places[0], r.places[1+r.rnd.IntN(2)]
	got := r.use(k, "memory_relate", fmt.Sprintf(`{"from":%q,"type":"near","to":%q}`, from, to))
	sees := func(place string) string { // the narrowest scope in which it sees it
		for _, scope := range k.scopes() {
			for _, s := range slices.Concat(slices.Collect(maps.Values(r.all)), slices.Collect(maps.Values(r.past))) {
				if s.scope == scope && s.place == place {
					return scope
				}
			}
		}
		return ""
	}
	may := !k.mute && sees(from) != "" && sees(to) != ""
	if related := strings.HasPrefix(got, "Remembered"); related != may {
		r.t.Errorf("%s relates %s to %s: %s", k.slug, from, to, got)
	} else if related {
		r.edges[sees(from)+" "+sees(to)+" "+to] = true
	}
}

// forget has an agent forget a fact, its own or not, by an ID that it may have guessed.
func (r *scopesRun) forget(k *secretKeeper) {
	r.t.Helper()
	words := slices.Sorted(maps.Keys(r.all))
	if len(words) == 0 {
		return
	}
	s := r.all[words[r.rnd.IntN(len(words))]]
	l, err := r.c.Entities(r.t.Context(), api.EntityFilter{Name: s.place, Limit: 100})
	if err != nil {
		r.t.Fatal(err)
	}
	id := ""
	for i := range l.Items {
		e, err := r.c.Entity(r.t.Context(), l.Items[i].ID, api.MemoryView{})
		if err != nil {
			r.t.Fatal(err)
		}
		for j := range e.Observations {
			if strings.Contains(e.Observations[j].Text, s.word+".") {
				id = e.Observations[j].ID
			}
		}
	}
	if id == "" {
		r.t.Fatalf("%v is not there", s)
	}
	may := r.visible(k)[s.word]
	got := r.use(k, "memory_forget", fmt.Sprintf(`{"id":%q}`, id))
	if forgotten := strings.HasPrefix(got, "Forgotten: 0 things, 1 facts"); forgotten != may {
		r.t.Errorf("%s forgets %v: %s", k.slug, s, got)
	} else if forgotten {
		delete(r.all, s.word)
		r.past[s.word] = s
	}
}

// look holds what an agent lists, exports and traverses to what it may see: no more, no less.
func (r *scopesRun) look(k *secretKeeper) {
	r.t.Helper()
	if k.mute {
		return
	}
	view := api.MemoryView{Agent: k.slug}
	want := slices.Sorted(maps.Keys(r.visible(k)))
	same := func(what string, found map[string]bool) {
		r.t.Helper()
		if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
			r.t.Errorf("%s of %s has %v, want %v", what, k.slug, got, want)
		}
	}
	listed := map[string]bool{}
	for f := (api.EntityFilter{MemoryView: view, Limit: 100}); ; {
		l, err := r.c.Entities(r.t.Context(), f)
		if err != nil {
			r.t.Fatal(err)
		}
		for i := range l.Items {
			r.within(k, "a list", l.Items[i].Scope)
			e, err := r.c.Entity(r.t.Context(), l.Items[i].ID, view)
			if err != nil {
				r.t.Fatal(err)
			}
			for _, w := range secretForm.FindAllString(fmt.Sprint(e), -1) {
				listed[w] = true
			}
		}
		if f.Cursor = l.Next; l.Next == "" {
			break
		}
	}
	same("the list", listed)
	var b bytes.Buffer
	if _, err := r.c.ExportMemory(r.t.Context(), &b, api.MemoryExport{MemoryView: view, Format: "jsonl"}); err != nil {
		r.t.Fatal(err)
	}
	exported := map[string]bool{}
	for _, w := range secretForm.FindAllString(b.String(), -1) {
		exported[w] = true
	}
	same("the export", exported)
	all, err := r.c.Entities(r.t.Context(), api.EntityFilter{Name: r.places[0], Limit: 100})
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range all.Items { // every one there is, seen or not
		g, err := r.c.MemoryGraph(r.t.Context(), all.Items[i].ID, api.GraphQuery{MemoryView: view, Depth: 10})
		h, herr := r.c.EntityHistory(r.t.Context(), all.Items[i].ID, view)
		if (err == nil) != (herr == nil) {
			r.t.Errorf("the graph of %s at %s: %v, the history: %v", k.slug, all.Items[i].Scope, err, herr)
		}
		for _, n := range g.Graph.Nodes {
			r.within(k, "a graph", n.Scope)
		}
		for _, e := range g.Graph.Edges {
			r.within(k, "a graph", e.Scope)
		}
		for _, i := range h.Items {
			if i.Observation != nil {
				for _, w := range secretForm.FindAllString(i.Observation.Text, -1) {
					if s, past := r.past[w]; !slices.Contains(want, w) && (!past || !slices.Contains(k.scopes(), s.scope)) {
						r.t.Errorf("the history of %s has %s", k.slug, w)
					}
				}
			}
			if i.Relation != nil {
				r.within(k, "a history", i.Relation.Scope)
			}
		}
	}
}
