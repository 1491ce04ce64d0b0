package sqlite

import (
	"embed"

	"github.com/caxton/caxton/internal/sqlitefile"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

func schema() sqlitefile.Schema {
	return sqlitefile.Schema{File: file(), Migrations: migrationFiles, Settings: writerMemory}
}
