-- What people decide, what is spent, and the order of all records.
ALTER TABLE records ADD COLUMN n INTEGER NOT NULL DEFAULT 0;        -- order of commits over all conversations, with gaps
ALTER TABLE pending ADD COLUMN parked INTEGER NOT NULL DEFAULT 0;   -- leases that ended by being put aside
ALTER TABLE pending ADD COLUMN outputs INTEGER NOT NULL DEFAULT 0;  -- outputs of earlier settlements

CREATE TABLE tickets (                           -- dead letters, effects of unknown outcome, approvals
    kind      TEXT    NOT NULL,
    id        TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    open      INTEGER NOT NULL,                  -- 1 when it waits for somebody
    conv      TEXT    NOT NULL,
    msg       TEXT    NOT NULL,
    agent     TEXT    NOT NULL,
    opened_at INTEGER NOT NULL,                  -- microseconds since 1970
    body      TEXT    NOT NULL,                  -- JSON: all of it
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX tickets_age ON tickets (kind, opened_at, id);
CREATE INDEX tickets_open ON tickets (kind, opened_at, id) WHERE open=1;
CREATE INDEX tickets_msg ON tickets (msg);

CREATE TABLE accounts (                          -- what budgets count
    name       TEXT    NOT NULL,
    unit       TEXT    NOT NULL,
    cap        INTEGER NOT NULL,                 -- when something was last reserved
    spent      INTEGER NOT NULL,
    reserved   INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (name, unit)
) WITHOUT ROWID;

CREATE TABLE reservations (                      -- held back for calls that are being made
    msg     TEXT NOT NULL,
    id      TEXT NOT NULL,
    charges TEXT NOT NULL,                       -- JSON
    PRIMARY KEY (msg, id)
) WITHOUT ROWID;
