// Package datadir owns the data directory: where everything in it is (Layout), the lock that
// keeps a second server out, the format marker that keeps an older program from newer data,
// and the writing of files that are either old or new, never half. It refuses to know what is
// in the databases, and to read settings: the caller hands it the few paths that they name.
//
// Paths, as the settings say them, go through Locate, which finds the home, completes what is
// not said and gives a Layout. Open makes the directories, takes the lock, reads or writes the
// marker, and gives a Dir, which holds the lock until Close. Commands that only want to know
// who runs read the lock with ReadLock.
//
// internal/node opens the directory, first of all stages, and closes it last; internal/cli
// locates it to find the socket, and reads the lock. A Dir may be used from any goroutine.
package datadir
