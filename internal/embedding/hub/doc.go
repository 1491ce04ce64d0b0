// Package hub fetches the files of a model from a model hub into a directory. It owns the
// addresses, the resuming of what broke off and the checks; it refuses to know what is in the
// files, and never removes a file that is whole.
//
// A file is asked for at {base}/{repository}/resolve/{revision}/{name}. What comes is written
// beside its place with the ending .part, synced, checked and renamed; when it breaks off, the
// rest is asked for by Range, under If-Range, so that two versions are never joined. The size
// and the SHA-256 come from the caller's pin, or from what the hub says of a large file; a
// file without either is marked as not verified. A list of what was fetched, files.json, is
// written last: with it, and the files at their sizes, nobody is asked.
//
// internal/embedding calls Fetch while it opens a model, from one goroutine.
package hub
