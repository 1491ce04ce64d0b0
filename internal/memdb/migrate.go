package memdb

import (
	"embed"

	"github.com/caxton/caxton/internal/sqlitefile"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

func schema(cfg Config) sqlitefile.Schema {
	return sqlitefile.Schema{File: file(), Migrations: migrationFiles, Settings: cfg.temporary()}
}
