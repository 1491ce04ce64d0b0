package caxton

// A Verification tells whether replaying one turn made the records that the log has.
type Verification struct {
	MessageID  MessageID
	AgentID    AgentID
	Agent      string // slug
	Version    int    // of the agent, that handled the message
	Attempts   int    // runs of the handler that the log tells of
	Records    int    // records that the replay made and the log has
	Hash       string // SHA-256 over the turn as the log has it, hex
	ReplayHash string // SHA-256 over the turn as the replay made it, hex: the same when all is well
	Skipped    string // why the turn was not replayed, or ""
	Difference *Difference
}

// Equal reports whether the replay found nothing else than the log has.
func (v *Verification) Equal() bool { return v.Difference == nil }

// A Difference is the first thing in which a replay and the log do not agree.
type Difference struct {
	Seq     int64 // of the record in the log; 0 when the log lacks it
	Kind    RecordKind
	Field   string // what differs in it, such as "request_hash"; "" for the record as a whole
	Logged  string
	Replay  string
	Message string // all of it in a sentence
}

// A Replay is what came of replaying a conversation.
type Replay struct {
	ConversationID ConversationID
	Records        int // in the log
	Hash           string
	ReplayHash     string
	Turns          []Verification
	Difference     *Difference // the first one
}

// Equal reports whether the replay found nothing else than the log has.
func (r *Replay) Equal() bool { return r.Difference == nil }
