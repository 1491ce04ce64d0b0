// Package remembering has the tools by which agents use their memory of their own accord:
// memory_store keeps a fact about something, memory_search looks for what is known,
// memory_relate connects two things, memory_forget lets go of what is wrong. It owns the
// arguments and the words; it refuses to decide what an agent may see: that follows from the
// agent's file, by memory.Profile.
//
// Every one may run again after a crash: a fact that is known already is not kept twice, a
// relation is brought up to date, and what is forgotten stays so.
//
// internal/prompt calls the tools from the goroutines of a turn, any number at once.
package remembering
