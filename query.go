package caxton

import "time"

// A ConversationQuery selects conversations, newest activity first. Zero fields select all.
type ConversationQuery struct {
	Agent  AgentID
	State  ConversationState
	Before string // the cursor of the page before, or "" for the first page
	Limit  int    // 1 to 200; 0 means 50
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
	Source            string // path of the file, or "api"
	Stem              string // file name without extension, or ""
	Author            string
	Target            AgentID // the agent to replace; "" for the agent of the declared name
	CreateOnly        bool    // Conflict when the agent exists
	ValidateOnly      bool    // check everything, change nothing
	MoveConversations bool    // running conversations move to the new version too
}

// An AgentTools tells which of its granted tools an agent has used.
type AgentTools struct {
	AgentID AgentID
	Uses    map[string]int64 // calls by tool name, over the kept history
}
