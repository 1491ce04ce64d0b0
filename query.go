package caxton

import "time"

// A ConversationQuery selects conversations, newest activity first. Zero fields select all.
type ConversationQuery struct {
	Agent  AgentID
	State  ConversationState
	Before string // the cursor of the page before, or "" for the first page
	Limit  int    // 1 to 200; 0 means 50

	Participant string    // somebody of this name takes part
	Since       time.Time // active at this time or later
	Until       time.Time // active at this time or before, and not later
	BegunBy     time.Time // begun at this time or before
}

// A LogQuery selects lines of agents' logs, oldest first. Zero fields select all.
type LogQuery struct {
	AgentID AgentID
	Agent   string // slug or file stem, for lines of files that never became an agent
	Level   string // at least this level
	Since   time.Time
	After   int64 // only lines with a greater ID
	Tail    int   // only the last so many, 1 to 10000; 0 means 1000
}

// A DeployRequest asks for a definition to become the active version of an agent.
type DeployRequest struct {
	Text              []byte // the definition as given
	Format            string // "markdown", "toml", "json" or "yaml"; "" to tell from Source and Text
	Module            []byte // of a WASM agent; nil for a config agent, and for a module that the server has
	Source            string // path of the file, or "api"
	Stem              string // file name without extension, or ""
	Author            string
	Target            AgentID      // the agent to replace; "" for the agent of the declared name
	CreateOnly        bool         // Conflict when the agent exists
	ValidateOnly      bool         // check everything, change nothing
	MoveConversations bool         // running conversations move to the new version too
	Rollout           *RolloutPlan // how it takes over; nil for at once
}

// An AgentTools tells which of its granted tools an agent has used.
type AgentTools struct {
	AgentID AgentID
	Uses    map[string]int64 // calls by tool name, over the kept history
}

// A MatchQuery selects messages by their words. Zero fields but Text select all.
type MatchQuery struct {
	Text           string // words, all of which must occur; one that ends with * stands for all that begin so
	ConversationID ConversationID
	Agent          AgentID           // of conversations in which the agent takes part
	Participant    string            // said by, or to, somebody of this name
	State          ConversationState // of the conversation
	Since, Until   time.Time
	Before         string // the cursor of the page before, or "" for the first page
	Limit          int    // 1 to 200; 0 means 50
}

// A Match is a message that a MatchQuery found.
type Match struct {
	ConversationID ConversationID
	MessageID      MessageID
	Seq            int64 // position in the conversation's log
	At             time.Time
	Performative   Performative
	Sender         string
	Receiver       string
	Snippet        string // the words around what was found, which stands in [brackets]
}
