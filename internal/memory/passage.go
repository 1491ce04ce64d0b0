package memory

import (
	"strings"

	"github.com/caxton/caxton"
)

// DefaultType is the type of an entity for which none was given.
const DefaultType = "thing"

// PassageText returns the words of a passage of an entity, those of the name and the type
// included: observation is "" when the entity has none.
func PassageText(name, kind, observation string) string {
	if observation == "" {
		return name + " (" + kind + ")"
	}
	return name + " (" + kind + "): " + observation
}

// MeaningText returns what is embedded of a passage. A person's name, or who said something, is
// left out: names draw an embedding towards whatever else they are mentioned in, and a search
// compares them by themselves. The name of a thing says what the observation is about, and
// stays.
func MeaningText(name, kind, observation string) string {
	switch {
	case observation == "":
		return PassageText(name, kind, "")
	case kind == caxton.EpisodeType:
		_, said := spoken(observation)
		return said
	case Person(kind):
		return observation
	}
	return name + ": " + observation
}

// Subject returns the name of whom or what a passage is about: of an episode who speaks, else
// the entity. It is "" when an episode does not say, and person tells a name of somebody from
// that of a thing.
func Subject(name, kind, observation string) (subject string, person bool) {
	if kind != caxton.EpisodeType {
		return name, Person(kind)
	}
	who, _ := spoken(observation)
	switch strings.ToLower(who) {
	case "user", "agent", "assistant": // says nothing about who it is
		return "", false
	}
	return who, true
}

// maxSpeaker bounds what is taken for the name of a speaker.
const maxSpeaker = 128

// spoken splits what an episode holds, "WHO: text".
func spoken(observation string) (who, said string) {
	who, said, ok := strings.Cut(observation, ": ")
	if !ok || len(who) > maxSpeaker || strings.ContainsAny(who, "\n.?!") || said == "" {
		return "", observation
	}
	return who, said
}

// Person reports whether entities of a type are persons.
func Person(kind string) bool {
	switch strings.ToLower(kind) {
	case "person", "people", "human", "user", "customer", "client", "contact", "employee", "colleague", "coworker",
		"friend", "relative", "member", "speaker", "patient", "student", "teacher", "guest":
		return true
	}
	return false
}

// A Name is a word that names something remembered.
type Name struct {
	Word   string // as it was given
	Person bool   // of a person
}

// An Aboutness tells by which of some words a passage was found.
type Aboutness struct {
	ID      caxton.MemoryID
	Subject uint64 // bit i: the word i is in the name of its subject
	Text    uint64 // bit i: the word i is in its text, the name of its entity included
}
