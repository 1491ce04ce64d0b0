// Package prompt is the handler of a config agent. It owns the prompt, the loop over the
// agent's tools, and the effect ledger of a turn; it refuses to choose models, to permit
// tools, and to keep the log: those are its Models, Tools and Log.
//
// A turn assembles the prompt: the system prompt, the documentation, as much history of the
// conversation as its budget of tokens allows, and the message through the agent's
// template. The model answers with text, which becomes the reply, or with tool calls, which
// run at once, side by side, and whose results go back to the model. Each model answer and
// each tool call is written to the log: a call before it runs and after it returned. After
// a crash the turn runs again over what the log holds: recorded answers and results are
// used, not repeated; a call of which nobody knows whether it happened runs again only if
// it may.
//
// internal/agent calls Handle from the workers of an agent, any number at once.
package prompt
