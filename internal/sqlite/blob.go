package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"

	"github.com/caxton/caxton"
	"github.com/ncruces/go-sqlite3"
)

// PutBlob keeps data, once, under the SHA-256 of its content, which it returns in hex.
func (db *DB) PutBlob(ctx context.Context, data []byte, mediaType string) (hash string, err error) {
	sum := sha256.Sum256(data)
	hash = hex.EncodeToString(sum[:])
	now := micros(db.cfg.Now())
	err = db.write(ctx, func(*sqlite3.Conn) error {
		st := db.stmts.blob
		if err := bind(st, hash, mediaType, int64(len(data)), now); err != nil {
			return err
		}
		if err := st.BindBlob(5, data); err != nil {
			return err
		}
		return st.Exec()
	})
	return hash, err
}

// Blob returns what PutBlob kept under hash, or NotFound.
func (db *DB) Blob(ctx context.Context, hash string) (data []byte, mediaType string, err error) {
	err = db.read.QueryRowContext(ctx, `SELECT media_type, data FROM blobs WHERE hash=?`, hash).Scan(&mediaType, &data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, "", caxton.Errorf(caxton.NotFound, "blob_not_found", "there is no stored result %s", hash)
	}
	return data, mediaType, storageError("read blob", err)
}
