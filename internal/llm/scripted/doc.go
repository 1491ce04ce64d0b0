// Package scripted holds models whose answers come from a file: for tests, demonstrations and
// first steps. It owns the forms of the two files, scripts and cassettes, and refuses to be
// clever: the first rule that fits answers, or what was recorded for the very same request.
//
// A script is YAML or JSON: a list of rules, each with a condition ("when") and what to do
// ("reply", "tool_calls" or "error", after a "delay"). A cassette is JSON, one call of
// another model a line, as a Recorder wrote it; see the comment above its version. Both are
// read once. internal/prompt calls Generate from agents' workers.
package scripted
