package exchange

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/caxton/caxton"
)

// The name and version that documents carry.
const (
	FormatName = "caxton-memory"
	Version    = 1
)

// Metadata tells of an export.
type Metadata struct {
	AgentID       string    `json:"agent_id,omitempty"`
	Scope         string    `json:"memory_scope,omitempty"`
	ExportedAt    time.Time `json:"exported_at,omitzero"`
	Format        string    `json:"format,omitempty"`
	Model         string    `json:"embedding_model,omitempty"` // of the embeddings, if there are any
	EntityCount   int64     `json:"entity_count"`
	RelationCount int64     `json:"relation_count"`
}

type provenance struct {
	ConversationID caxton.ConversationID `json:"conversation_id,omitempty"`
	MessageID      caxton.MessageID      `json:"message_id,omitempty"`
	AgentID        caxton.AgentID        `json:"agent_id,omitempty"`
	Version        int64                 `json:"version,omitempty"`
	Tool           string                `json:"tool,omitempty"`
	By             string                `json:"by,omitempty"`
}

// spans are the two clocks.
type spans struct {
	ValidFrom time.Time `json:"valid_from,omitzero"`
	ValidTo   time.Time `json:"valid_to,omitzero"`
	KnownFrom time.Time `json:"known_from,omitzero"`
	KnownTo   time.Time `json:"known_to,omitzero"`
}

func spansOf(valid, known caxton.Span) spans {
	return spans{valid.From, valid.To, known.From, known.To}
}

func (s spans) valid() caxton.Span { return caxton.Span{From: s.ValidFrom, To: s.ValidTo} }
func (s spans) known() caxton.Span { return caxton.Span{From: s.KnownFrom, To: s.KnownTo} }

type observation struct {
	ID         caxton.ObservationID `json:"id,omitzero"`
	Text       string               `json:"text"`
	Key        string               `json:"key,omitempty"`
	Confidence *float64             `json:"confidence,omitempty"`
	spans
	Supersedes   caxton.ObservationID `json:"supersedes,omitzero"`
	SupersededBy caxton.ObservationID `json:"superseded_by,omitzero"`
	RevertedBy   string               `json:"reverted_by,omitempty"`
	Provenance   provenance           `json:"provenance,omitzero"`
	Embedding    []float32            `json:"embedding,omitempty"`
}

// UnmarshalJSON reads an object, or a text alone.
func (o *observation) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '"' {
		*o = observation{}
		return json.Unmarshal(b, &o.Text)
	}
	type plain observation
	return json.Unmarshal(b, (*plain)(o))
}

type entity struct {
	Kind       string          `json:"type,omitempty"` // "entity" in JSON lines
	ID         caxton.EntityID `json:"id,omitzero"`
	Name       string          `json:"name"`
	Type       string          `json:"entity_type,omitempty"`
	TypeMCP    string          `json:"entityType,omitempty"` // read only
	Scope      caxton.Scope    `json:"memory_scope,omitzero"`
	Importance *float64        `json:"importance,omitempty"`
	Metadata   json.RawMessage `json:"metadata,omitempty"`
	Version    int64           `json:"version,omitempty"`
	CreatedAt  time.Time       `json:"created_at,omitzero"`
	UpdatedAt  time.Time       `json:"updated_at,omitzero"`
	KnownFrom  time.Time       `json:"known_from,omitzero"`
	KnownTo    time.Time       `json:"known_to,omitzero"`

	Observations []observation `json:"observations"`
	Embedding    []float32     `json:"embedding,omitempty"`
}

type relation struct {
	Kind       string            `json:"type,omitempty"` // "relation" in JSON lines
	ID         caxton.RelationID `json:"id,omitzero"`
	From       string            `json:"from_entity,omitempty"`
	To         string            `json:"to_entity,omitempty"`
	Type       string            `json:"relation_type,omitempty"`
	FromID     caxton.EntityID   `json:"from_id,omitzero"` // as in this document
	ToID       caxton.EntityID   `json:"to_id,omitzero"`
	FromMCP    string            `json:"from,omitempty"` // read only, as the next two
	ToMCP      string            `json:"to,omitempty"`
	TypeMCP    string            `json:"relationType,omitempty"`
	Scope      caxton.Scope      `json:"memory_scope,omitzero"`
	Strength   *float64          `json:"strength,omitempty"`
	Confidence *float64          `json:"confidence,omitempty"`
	Metadata   json.RawMessage   `json:"metadata,omitempty"`
	spans
	Provenance provenance `json:"provenance,omitzero"`
}

// A Record is an entity or a relation of a document.
type Record struct {
	Line       int // on which it begins
	Entity     *caxton.Entity
	Relation   *caxton.Relation
	Embeddings map[int][]float32 // by the place of the observation; -1 the entity's own
}

func entityOf(w *entity) (*caxton.Entity, map[int][]float32) {
	e := &caxton.Entity{
		ID: w.ID, Name: w.Name, Type: w.Type, Scope: w.Scope, Importance: or(w.Importance, caxton.DefaultImportance), Metadata: object(w.Metadata),
		Version: w.Version, CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt, Known: caxton.Span{From: w.KnownFrom, To: w.KnownTo},
	}
	if e.Type == "" {
		e.Type = w.TypeMCP
	}
	var embeddings map[int][]float32
	embed := func(i int, v []float32) {
		if len(v) > 0 {
			if embeddings == nil {
				embeddings = map[int][]float32{}
			}
			embeddings[i] = v
		}
	}
	embed(-1, w.Embedding)
	for i := range w.Observations {
		o := &w.Observations[i]
		e.Observations = append(e.Observations, caxton.Observation{
			ID: o.ID, EntityID: w.ID, Text: o.Text, Key: o.Key, Confidence: or(o.Confidence, caxton.DefaultConfidence), Valid: o.valid(), Known: o.known(),
			Supersedes: o.Supersedes, SupersededBy: o.SupersededBy, RevertedBy: o.RevertedBy, Provenance: caxton.Provenance(o.Provenance),
		})
		embed(i, o.Embedding)
	}
	return e, embeddings
}

func relationOf(w *relation) *caxton.Relation {
	r := &caxton.Relation{
		ID: w.ID, Scope: w.Scope, From: w.FromID, To: w.ToID, FromName: w.From, ToName: w.To, Type: w.Type,
		Strength: or(w.Strength, caxton.DefaultStrength), Confidence: or(w.Confidence, caxton.DefaultConfidence), Metadata: object(w.Metadata),
		Valid: w.valid(), Known: w.known(), Provenance: caxton.Provenance(w.Provenance),
	}
	if r.FromName == "" {
		r.FromName = w.FromMCP
	}
	if r.ToName == "" {
		r.ToName = w.ToMCP
	}
	if r.Type == "" {
		r.Type = w.TypeMCP
	}
	return r
}

// object returns metadata, or nil for none.
func object(b json.RawMessage) json.RawMessage {
	switch t := bytes.TrimSpace(b); string(t) {
	case "", "null", "{}":
		return nil
	}
	return b
}

func or(v *float64, otherwise float64) float64 {
	if v == nil {
		return otherwise
	}
	return *v
}
