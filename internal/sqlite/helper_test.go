package sqlite_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func setUserVersion(t *testing.T, path string, n int) {
	t.Helper()
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(fmt.Sprintf("PRAGMA user_version=%d", n)); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}
