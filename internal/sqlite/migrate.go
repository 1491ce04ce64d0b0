package sqlite

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

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

// migrations returns the numbered SQL files in order, without gaps: a number that is filled in
// later would be passed over by databases that are past it. They are never edited once released.
func migrations() ([]migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	ms := make([]migration, 0, len(names))
	for _, name := range names {
		base := strings.TrimPrefix(name, "migrations/")
		n, err := strconv.Atoi(base[:strings.IndexByte(base, '_')])
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
// The version is SQLite's user_version, so that any tool can read it. A large file takes a
// while, so log is told.
func migrate(ctx context.Context, c *sqlite3.Conn, log *slog.Logger) error {
	ms, err := migrations()
	if err != nil {
		return caxton.Errorf(caxton.Internal, "migrations_invalid", "the schema is not in order").WithCause(err)
	}
	have, err := userVersion(c)
	if err != nil {
		return storageError("read schema version", err)
	}
	newest := ms[len(ms)-1].number
	if have > newest {
		return caxton.Errorf(caxton.Conflict, "schema_newer", "the database has schema %d, this program knows %d", have, newest).
			WithHint("use the newer program, or restore the backup made before the upgrade")
	}
	if have == newest {
		return nil
	}
	start := time.Now()
	if have > 0 {
		log.InfoContext(ctx, "schema upgrade began", "from", have, "to", newest)
	}
	for _, m := range ms[have:] {
		if err := step(c, m); err != nil {
			return storageError("migration "+m.name, err)
		}
	}
	if have > 0 {
		log.InfoContext(ctx, "schema upgraded", "from", have, "to", newest, "duration", time.Since(start))
	}
	return nil
}

// step does one migration. What it sorts can be larger than the memory that a connection may
// have, so it is sorted in files, unless there is no place for them, and in parts as large as
// the cache is.
func step(c *sqlite3.Conn, m migration) error {
	var err error
	for _, where := range []string{"FILE", "MEMORY"} {
		err = c.Exec("PRAGMA cache_size=-16384; PRAGMA temp_store=" + where + ";\nBEGIN IMMEDIATE;\n" + m.sql + fmt.Sprintf("\nPRAGMA user_version=%d;\nCOMMIT", m.number))
		if err != nil && !c.GetAutocommit() {
			_ = c.Exec("ROLLBACK")
		}
		if !errors.Is(err, sqlite3.IOERR_GETTEMPPATH) {
			break
		}
	}
	return errors.Join(err, c.Exec(writerMemory))
}

func userVersion(c *sqlite3.Conn) (int, error) {
	st, _, err := c.Prepare(`PRAGMA user_version`)
	if err != nil {
		return 0, err
	}
	defer func() { _ = st.Close() }()
	if !st.Step() {
		return 0, st.Err()
	}
	return st.ColumnInt(0), nil
}
