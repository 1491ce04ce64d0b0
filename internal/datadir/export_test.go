package datadir

// Explain lets tests see what is said about errors that a test cannot cause.
func Explain(verb, path, dir string, err error) error { return explain(verb, path, dir, err) }
