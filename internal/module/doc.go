// Package module keeps the modules of WASM agents in the data directory, by their SHA-256. It
// owns the files and their integrity; it refuses to know what is in a module, and which agent
// runs it: internal/wasm and the registry do.
//
// A deployment puts a module here before the registry refers to it, so that whatever moment a
// process dies at, each module that a version refers to is here. What nothing refers to, be it
// of a deployment that came to nothing or of an agent that was removed, Run collects after a
// grace. A file is compared with its name whenever it is read: a damaged one is refused, and
// is replaced when the same module is put again.
//
// internal/deploy puts and internal/node gets, from the goroutines of deployments and of
// agents that start. Run is called once.
package module
