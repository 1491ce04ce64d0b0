// Package config owns the settings of the server: one schema, written once in the tags of
// Config, that YAML, TOML and JSON files, environment variables and flags all fill. It owns
// the table of other spellings (Aliases), the expansion of ${VAR}, secrets kept in files, and
// the memory of where each value came from. It refuses to open what the settings name, except
// the file itself and files of secrets; to decide where the data directory is (see
// internal/datadir); and to know what a setting does.
//
// A file's text becomes a positioned document (internal/tree). Variables are put in, other
// spellings are moved to their canonical place, and unknown keys are reported with the nearest
// known one. The environment and the flags become documents of the same shape and go the same
// way. The documents are laid over each other (defaults, RUST_LOG and the like, file,
// environment, flags), each leaf keeping its origin; the result is decoded into a Config and
// checked as a whole. Every fault is reported at once.
//
// Relative paths in settings mean the working directory, whatever file they stand in.
//
// Only internal/node and internal/cli import it. Load may be called from any goroutine; a
// Loaded does not change and may be shared.
package config
