package sqlitefile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// A Schema is what a file's tables should be like.
type Schema struct {
	File       File
	Migrations fs.FS  // files migrations/0001_name.sql and so on
	Settings   string // statements that set temp_store and cache_size as the connection has them otherwise
}

type migration struct {
	number int
	name   string
	sql    string
}

// list returns the numbered SQL files in order, without gaps: a number that is filled in
// later would be passed over by files that are past it. They are never edited once released.
func (s Schema) list() ([]migration, error) {
	names, err := fs.Glob(s.Migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	ms := make([]migration, 0, len(names))
	for _, name := range names {
		base := path.Base(name)
		digits, _, _ := strings.Cut(base, "_")
		n, err := strconv.Atoi(digits)
		if err != nil {
			return nil, fmt.Errorf("migration %s has no number: %w", base, err)
		}
		text, err := fs.ReadFile(s.Migrations, name)
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

// Migrate brings the schema of c to the newest version, each step in its own transaction.
// The version is SQLite's user_version, so that any tool can read it. A large file takes a
// while, so log is told. A schema newer than the last migration is a Conflict.
func (s Schema) Migrate(ctx context.Context, c *sqlite3.Conn, log *slog.Logger) error {
	ms, err := s.list()
	if err != nil {
		return caxton.Errorf(caxton.Internal, "migrations_invalid", "the schema of %s is not in order", s.File.Name).WithCause(err)
	}
	have, err := Pragma(c, "user_version")
	if err != nil {
		return s.File.Error("read schema version", err)
	}
	newest := int64(len(ms))
	if have > newest {
		return caxton.Errorf(caxton.Conflict, "schema_newer", "%s has schema %d, this program knows %d", s.File.Name, have, newest).
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
		if err := s.step(c, m); err != nil {
			return s.File.Error("migration "+m.name, err)
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
func (s Schema) step(c *sqlite3.Conn, m migration) error {
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
	return errors.Join(err, c.Exec(s.Settings))
}
