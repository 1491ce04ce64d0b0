package memdb

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

type migration struct {
	number int
	name   string
	sql    string
}

// migrations returns the numbered SQL files in order, without gaps. They are never edited once
// released.
func migrations() ([]migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	ms := make([]migration, 0, len(names))
	for _, name := range names {
		base := strings.TrimPrefix(name, "migrations/")
		digits, _, _ := strings.Cut(base, "_")
		n, err := strconv.Atoi(digits)
		if err != nil {
			return nil, fmt.Errorf("migration %s has no number: %w", base, err)
		}
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		ms = append(ms, migration{n, base, string(text)})
	}
	slices.SortFunc(ms, func(a, b migration) int { return cmp.Compare(a.number, b.number) })
	for i, m := range ms {
		if m.number != i+1 {
			return nil, fmt.Errorf("migration %s should have number %d", m.name, i+1)
		}
	}
	return ms, nil
}

// migrate brings the schema of c to the newest version, each step in its own transaction.
// The version is SQLite's user_version, so that any tool can read it.
func migrate(c *sqlite3.Conn) error {
	ms, err := migrations()
	if err != nil {
		return caxton.Errorf(caxton.Internal, "migrations_invalid", "the schema of the memory is not in order").WithCause(err)
	}
	have, err := pragma(c, "user_version")
	if err != nil {
		return storageError("read schema version", err)
	}
	if newest := int64(len(ms)); have > newest {
		return caxton.Errorf(caxton.Conflict, "schema_newer", "the memory has schema %d, this program knows %d", have, newest).
			WithHint("use the newer program, or restore the backup made before the upgrade")
	}
	for _, m := range ms[have:] {
		err := c.Exec("BEGIN IMMEDIATE;\n" + m.sql + fmt.Sprintf("\nPRAGMA user_version=%d;\nCOMMIT", m.number))
		if err != nil {
			if !c.GetAutocommit() {
				_ = c.Exec("ROLLBACK")
			}
			return storageError("migration "+m.name, err)
		}
	}
	return nil
}

// pragma returns a number that SQLite keeps.
func pragma(c *sqlite3.Conn, name string) (int64, error) {
	st, _, err := c.Prepare("PRAGMA " + name)
	if err != nil {
		return 0, err
	}
	defer func() { _ = st.Close() }()
	if !st.Step() {
		return 0, st.Err()
	}
	return st.ColumnInt64(0), nil
}
