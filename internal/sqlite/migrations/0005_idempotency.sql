-- Requests by their idempotency key. A row is made before the request is served and gets the
-- answer afterwards. What a dead process left unanswered is told by its run.
CREATE TABLE idempotency_keys (
    key         TEXT    PRIMARY KEY,
    fingerprint TEXT    NOT NULL,                -- of method, path and body
    run         TEXT    NOT NULL,                -- the process that serves it
    at          INTEGER NOT NULL,                -- of the last change, microseconds since 1970
    done        INTEGER NOT NULL,
    answer      TEXT    NOT NULL,                -- JSON; "" when there is none, or it was not kept
    size        INTEGER NOT NULL                 -- of the answer, so that a sum need not read it
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_at ON idempotency_keys (at, size);
