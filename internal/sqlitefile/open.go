package sqlitefile

import (
	"context"
	"errors"
	"net/url"
	"os"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/ext/fts5"
)

// Create makes the file, if it is missing, for nobody but its owner to read. It says nothing
// of a failure: SQLite, which opens the file next, says what is wrong with it.
func Create(path string) {
	if f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err == nil { //nolint:gosec // the owner's path
		_ = f.Close()
	}
}

// URL names the file for SQLite, with an option such as mode=ro, or none.
func URL(path, key, value string) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: path}
	if key != "" {
		u.RawQuery = url.Values{key: {value}}.Encode()
	}
	return u.String()
}

// Open opens a connection that knows the text index and runs the settings on it. It may take
// as long as ctx says; what is done on it later is not bounded.
func Open(ctx context.Context, name, settings string) (*sqlite3.Conn, error) {
	c, err := sqlite3.OpenContext(ctx, name)
	if err != nil {
		return nil, err
	}
	if err = fts5.Register(c); err == nil {
		err = c.Exec(settings)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.SetInterrupt(context.WithoutCancel(ctx))
	return c, nil
}

// Pragma returns a number that SQLite keeps.
func Pragma(c *sqlite3.Conn, name string) (int64, error) {
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
