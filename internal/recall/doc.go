// Package recall measures how well a memory finds again what it was told. It owns the worlds
// that questions are asked about, the measures, and the tables that come of them; it refuses
// to know any memory: what is measured is a Searcher, made by whoever calls.
//
// A World is a set of dated conversations and the questions about them, each with the turns
// that answer it. Generate makes worlds from a seed, the same on every machine, in two splits
// that share no person, no sentence and no value: weights are chosen on one and reported on
// the other. ReadLoCoMo and ReadLongMemEval read worlds from files of those formats, one at a
// time. Run opens a Searcher for each world and system, adds the turns in order of time, asks
// every question, and measures where the evidence stands in the answers: any of it and all of
// it among the first five and ten, by turn and by session, the mean reciprocal rank and nDCG,
// each with a bootstrap interval, for each type of question. Compare holds two systems
// against each other question by question. A Report prints as a table, as Markdown and as
// JSON.
//
// internal/cli calls Run for its recall benchmark, on the command's goroutine; Run asks a
// bounded number of questions at once and waits for all of them before it returns.
package recall
