// Package sqlitefile does what every SQLite file of ours needs: it opens connections, brings
// the schema up to date with numbered migrations, moves the write-ahead log into the file, and
// tells what SQLite's errors mean. It knows no table and keeps no statement; what is in a file
// and who may write when is the business of internal/sqlite and internal/memdb.
//
// Who owns a file calls Create, opens its writer with Open, has Schema.Migrate bring it up to date, and
// makes Checkpoints for the writer. Checkpoints.Run belongs into a goroutine of the owner, on a
// connection of its own; all else is called from any goroutine that has the connection.
package sqlitefile
