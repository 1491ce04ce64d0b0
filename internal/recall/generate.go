package recall

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/caxton/caxton"
)

// A GeneratorConfig says what Generate makes. Zero fields mean the defaults.
type GeneratorConfig struct {
	Seed     uint64
	Splits   []Split // which splits; default both, tuning first
	Worlds   int     // worlds of each split; default 4
	Persons  int     // persons of a world, 4 to 56; default 52
	Sessions int     // sessions of a world, at least 20; default 260
	PerType  int     // questions of each type and world at most; default 60
}

// Bounds of a GeneratorConfig. There are as many persons as first names.
const (
	minPersons  = 4
	maxPersons  = 56
	minSessions = 20
	maxSessions = 100_000
)

// Generate makes worlds, the same for the same configuration on every machine. A world is
// made when it is asked for; nothing is kept.
func Generate(cfg GeneratorConfig) iter.Seq2[World, error] {
	if len(cfg.Splits) == 0 {
		cfg.Splits = []Split{Tuning, HeldOut}
	}
	cfg.Worlds = cmp.Or(cfg.Worlds, 4)
	cfg.Persons = cmp.Or(cfg.Persons, 52)
	cfg.Sessions = cmp.Or(cfg.Sessions, 260)
	cfg.PerType = cmp.Or(cfg.PerType, 60)
	return func(yield func(World, error) bool) {
		if err := cfg.check(); err != nil {
			yield(World{}, err)
			return
		}
		for _, s := range cfg.Splits {
			lx, err := load(s)
			if err != nil {
				yield(World{}, err)
				return
			}
			for i := range cfg.Worlds {
				if !yield(newWorld(cfg, lx, s, i), nil) {
					return
				}
			}
		}
	}
}

func (c GeneratorConfig) check() error {
	bad := func(what string, got, low, high int) error {
		if got >= low && got <= high {
			return nil
		}
		return caxton.Errorf(caxton.Invalid, "recall_config_invalid", "%s is %d, it must be from %d to %d", what, got, low, high)
	}
	for _, s := range c.Splits {
		if s != Tuning && s != HeldOut {
			return caxton.Errorf(caxton.Invalid, "recall_config_invalid", "there is no split %q", s).
				WithHint("use %s or %s", Tuning, HeldOut)
		}
	}
	return cmp.Or(
		bad("the number of worlds", c.Worlds, 1, 1000),
		bad("the number of persons", c.Persons, minPersons, maxPersons),
		bad("the number of sessions", c.Sessions, minSessions, maxSessions),
		bad("the number of questions of a type", c.PerType, 1, 100_000),
	)
}

// A person of a world, with the sessions the person takes part in.
type person struct {
	first, full string
	sessions    []int
	// called holds the facts that say who somebody is to this person.
	called []*fact
	facts  []*fact
}

// A fact is one relation of a person with its values in order of time.
type fact struct {
	rel    *relation
	of     *person
	stated []*statement
}

// A statement is one value of a fact and the turns that state it.
type statement struct {
	value string
	to    *person // for relations between persons
	at    time.Time
	turns []*line
}

// A line is a turn before it has its place.
type line struct {
	speaker *person
	text    string
	session int
	turn    *Turn
}

type session struct {
	at    time.Time
	who   []*person
	lines []*line
}

// A maker makes one world.
type maker struct {
	rng      *rand.Rand
	lx       *lexicon
	world    World
	persons  []*person
	sessions []*session
	facts    []*fact
	events   []*fact // rel is nil; the happening is in ev
	ev       map[*fact]happening
	tokens   []*fact
	tok      map[*fact]token
	byType   map[Type][]Question
	asked    time.Time
}

func newWorld(cfg GeneratorConfig, lx *lexicon, s Split, index int) World {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%d", s, index) // a hash takes everything
	m := &maker{
		rng:    rand.New(rand.NewPCG(cfg.Seed, h.Sum64())), //nolint:gosec // worlds must repeat, not surprise
		lx:     lx,
		world:  World{ID: fmt.Sprintf("%s-%d", s, index), Split: s},
		ev:     map[*fact]happening{},
		tok:    map[*fact]token{},
		byType: map[Type][]Question{},
	}
	m.people(cfg.Persons)
	m.calendar(cfg.Sessions)
	for _, p := range m.persons {
		m.life(p)
	}
	m.happenings()
	m.identifiers()
	m.talk()
	m.write()
	m.ask()
	m.pick(cfg.PerType)
	return m.world
}

// pickOne returns one of the items.
func pickOne[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// sample returns n of the items in random order, fewer when there are not so many.
func sample[T any](rng *rand.Rand, from []T, n int) []T {
	out := slices.Clone(from)
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(n, len(out))]
}

func (m *maker) chance(percent int) bool { return m.rng.IntN(100) < percent }

func (m *maker) people(n int) {
	for _, first := range sample(m.rng, m.lx.firsts, n) {
		m.persons = append(m.persons, &person{first: first, full: first + " " + pickOne(m.rng, m.lx.lasts)})
	}
}

// calendar lays the sessions over about eighteen months and says who takes part. Everybody
// has a circle: the persons nearby in the list, and now and then somebody from afar.
func (m *maker) calendar(n int) {
	const months = 18
	start := time.Date(2022+m.rng.IntN(2), time.Month(1+m.rng.IntN(12)), 1, 0, 0, 0, 0, time.UTC)
	span := months * 30 * 24 * 60 // minutes
	for i := range n {
		minutes := span*i/n + m.rng.IntN(span/n)
		s := &session{at: start.Add(time.Duration(minutes) * time.Minute)}
		// The list of persons is walked so that all take part equally often.
		at := i * 3 % len(m.persons)
		s.who = append(s.who, m.persons[at])
		for len(s.who) < 3 {
			far := 1 + m.rng.IntN(min(6, len(m.persons)-1))
			if m.chance(20) {
				far = m.rng.IntN(len(m.persons))
			}
			if p := m.persons[(at+far)%len(m.persons)]; !slices.Contains(s.who, p) {
				s.who = append(s.who, p)
			}
		}
		for _, p := range s.who {
			p.sessions = append(p.sessions, i)
		}
		m.sessions = append(m.sessions, s)
	}
	m.asked = m.sessions[n-1].at.Add(time.Duration(3+m.rng.IntN(18)) * 24 * time.Hour)
}

// month counts months, so that their distance is a subtraction.
func month(t time.Time) int { return t.Year()*12 + int(t.Month()) - 1 }

// life gives p facts and says when they are told.
func (m *maker) life(p *person) {
	kinds := map[string][]*relation{}
	for _, r := range m.lx.relations {
		kinds[r.kind] = append(kinds[r.kind], r)
	}
	for _, r := range sample(m.rng, kinds["changing"], 6) {
		m.fact(p, r, m.dates(p, 1+m.rng.IntN(4), 2))
	}
	for _, r := range sample(m.rng, kinds["fixed"], 4) {
		m.fact(p, r, m.dates(p, 1, 0))
	}
	for _, r := range sample(m.rng, kinds["preference"], 4) {
		m.fact(p, r, m.dates(p, 1, 0))
	}
	for _, r := range sample(m.rng, kinds["many"], 2) {
		m.fact(p, r, m.dates(p, 3+m.rng.IntN(3), 0))
	}
	for _, r := range sample(m.rng, kinds["person"], 2) {
		m.fact(p, r, m.dates(p, 1, 0))
	}
}

// dates returns n of p's sessions in order, with gap months or more between them.
func (m *maker) dates(p *person, n, gap int) []int {
	all := sample(m.rng, p.sessions, len(p.sessions))
	var out []int
	for _, s := range all {
		far := func(o int) bool {
			d := month(m.sessions[s].at) - month(m.sessions[o].at)
			return max(d, -d) < max(gap, 0) || o == s
		}
		if len(out) < n && !slices.ContainsFunc(out, far) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// fact makes a fact of p with one value for each of the sessions.
func (m *maker) fact(p *person, r *relation, sessions []int) {
	f := &fact{rel: r, of: p}
	values := sample(m.rng, r.values, len(sessions))
	for i, at := range sessions {
		st := &statement{}
		forms := r.say
		switch {
		case r.kind == "person":
			for st.to == nil || st.to == p {
				st.to = pickOne(m.rng, m.persons)
			}
			st.value = st.to.first
			p.called = append(p.called, f)
		case i >= len(values):
			continue
		default:
			st.value = values[i]
		}
		if i > 0 && len(r.change) > 0 {
			forms = r.change
		}
		speaker, text := p, pickOne(m.rng, forms)
		// One in five is told by somebody else, in the session that follows.
		if next := at + 1; len(r.tell) > 0 && i == 0 && next < len(m.sessions) && m.chance(20) && !slices.Contains(m.sessions[next].who, p) {
			at, speaker, text = next, pickOne(m.rng, m.sessions[next].who), pickOne(m.rng, r.tell)
			if st.to == speaker {
				speaker = m.other(at, speaker)
			}
		}
		m.state(st, at, speaker, m.fill(text, p, st.value), true)
		f.stated = append(f.stated, st)
		// Some facts are told again before they change.
		if r.kind != "many" && m.chance(15) {
			last := len(m.sessions)
			if i+1 < len(sessions) {
				last = sessions[i+1]
			}
			again := slices.DeleteFunc(slices.Clone(p.sessions), func(s int) bool { return s <= at || s >= last })
			if len(again) > 0 {
				m.state(st, pickOne(m.rng, again), p, m.fill(pickOne(m.rng, r.say), p, st.value), true)
			}
		}
	}
	p.facts = append(p.facts, f)
	m.facts = append(m.facts, f)
}

// other returns somebody of a session who is not p.
func (m *maker) other(at int, p *person) *person {
	who := slices.DeleteFunc(slices.Clone(m.sessions[at].who), func(o *person) bool { return o == p })
	return pickOne(m.rng, who)
}

// state puts a line into a session that states st.
func (m *maker) state(st *statement, at int, speaker *person, text string, dress bool) {
	l := &line{speaker: speaker, session: at}
	if dress {
		text = m.dress(text)
	}
	l.text = capital(text)
	if st != nil {
		st.turns = append(st.turns, l)
	}
	m.sessions[at].lines = append(m.sessions[at].lines, l)
}

// dress puts small talk around a sentence.
func (m *maker) dress(text string) string {
	if m.chance(45) {
		open := pickOne(m.rng, m.lx.open)
		if strings.HasSuffix(open, ",") || strings.HasSuffix(open, "but") {
			text = lower(text)
		}
		text = open + " " + text
	}
	if m.chance(30) {
		text += " " + pickOne(m.rng, m.lx.end)
	}
	if m.chance(15) {
		text += " " + m.chatter()
	}
	return text
}

// fill puts the person and the value into a form.
func (m *maker) fill(form string, p *person, value string) string {
	return strings.NewReplacer("{p}", p.first, "{v}", value).Replace(form)
}

// capital makes the first letter upper case.
func capital(s string) string {
	for i, r := range s {
		return string(unicode.ToUpper(r)) + s[i+len(string(r)):]
	}
	return s
}

// lower makes the first letter lower case, unless the word is I or more than its first
// letter says that it is a name.
func lower(s string) string {
	first, _, _ := strings.Cut(s, " ")
	switch first {
	case "My", "The", "We", "In", "On", "At", "For", "Our", "Since", "From", "There's", "You", "Nobody", "As", "By", "When", "Every", "Some", "This", "Just", "They":
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

func (m *maker) chatter() string {
	two := sample(m.rng, m.lx.words, 2)
	return strings.NewReplacer("{a}", two[0], "{b}", two[1]).Replace(pickOne(m.rng, m.lx.chat))
}

// happenings gives each happening to one person.
func (m *maker) happenings() {
	for i, e := range sample(m.rng, m.lx.events, len(m.lx.events)) {
		p := m.persons[i%len(m.persons)]
		f := &fact{of: p}
		for _, at := range m.dates(p, 1, 0) {
			st := &statement{value: e.say}
			m.state(st, at, p, e.say, true)
			f.stated = append(f.stated, st)
		}
		if len(f.stated) > 0 {
			m.events = append(m.events, f)
			m.ev[f] = e
		}
	}
}

// identifiers gives everybody two rare tokens. Half of them have a twin: a token that
// differs in one character, said by somebody else.
func (m *maker) identifiers() {
	used := map[string]bool{}
	add := func(p *person, t token, name string) {
		used[name] = true
		f := &fact{of: p}
		for _, at := range m.dates(p, 1, 0) {
			st := &statement{value: name}
			m.state(st, at, p, strings.ReplaceAll(t.say, "{v}", name), true)
			f.stated = append(f.stated, st)
		}
		if len(f.stated) > 0 {
			m.tokens = append(m.tokens, f)
			m.tok[f] = t
		}
	}
	for _, p := range m.persons {
		for range 2 {
			t := pickOne(m.rng, m.lx.tokens)
			name, at := m.token(t.form)
			if used[name] {
				continue
			}
			add(p, t, name)
			if twin := name[:at] + string('0'+(name[at]-'0'+3)%10) + name[at+1:]; m.chance(50) && !used[twin] {
				add(pickOne(m.rng, m.persons), t, twin)
			}
		}
	}
}

// token makes a rare name of a form, and says where a digit of it is.
func (m *maker) token(form string) (name string, digit int) {
	b := []byte(form)
	for i := range b {
		switch b[i] {
		case '#':
			b[i] = "0123456789"[m.rng.IntN(10)]
			digit = i
		case '@':
			b[i] = "ABCDEFGHJKLMNPRSTUVWXYZ"[m.rng.IntN(23)]
		case '~':
			b[i] = "0123456789abcdef"[m.rng.IntN(16)]
		}
	}
	return string(b), digit
}

// talk adds what states nothing: replies, small talk and hints at relations.
func (m *maker) talk() {
	var hints []string
	for _, r := range m.lx.relations {
		hints = append(hints, r.hint...)
	}
	for i, s := range m.sessions {
		m.rng.Shuffle(len(s.lines), func(i, j int) { s.lines[i], s.lines[j] = s.lines[j], s.lines[i] })
		facts := s.lines
		s.lines = nil
		for _, l := range facts {
			s.lines = append(s.lines, l)
			switch n := m.rng.IntN(100); {
			case n < 20:
				m.state(nil, i, m.other(i, l.speaker), pickOne(m.rng, m.lx.reply), false)
			case n < 38:
				m.state(nil, i, pickOne(m.rng, s.who), m.chatter(), m.chance(40))
			case n < 52:
				m.state(nil, i, pickOne(m.rng, s.who), pickOne(m.rng, hints), true)
			}
		}
	}
}

// write makes the turns, in order of time.
func (m *maker) write() {
	for i, s := range m.sessions {
		at := s.at
		id := fmt.Sprintf("%s:s%04d", m.world.ID, i)
		for n, l := range s.lines {
			at = at.Add(time.Duration(20+m.rng.IntN(60)) * time.Second)
			if i+1 < len(m.sessions) && at.After(m.sessions[i+1].at) {
				at = m.sessions[i+1].at
			}
			l.turn = &Turn{ID: fmt.Sprintf("%s:t%02d", id, n), Session: id, Speaker: l.speaker.full, Text: l.text, At: at}
			m.world.Turns = append(m.world.Turns, *l.turn)
		}
	}
	for _, list := range [][]*fact{m.facts, m.events, m.tokens} {
		for _, f := range list {
			for _, st := range f.stated {
				st.at = st.turns[0].turn.At
			}
		}
	}
}
