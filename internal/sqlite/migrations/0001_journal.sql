-- The journal: one append-only log per conversation. The truth is in records; messages says
-- where each message stands in it. Both grow at their right edge, so that a commit touches
-- few pages. conversations and pending are written with a little delay: they can be made
-- again from the other two (see recover.go).
CREATE TABLE records (
    conv  TEXT    NOT NULL,                      -- the conversation's ID
    seq   INTEGER NOT NULL,                      -- from 1, without gaps
    at    INTEGER NOT NULL,                      -- microseconds since 1970
    kind  TEXT    NOT NULL,
    msg   TEXT    NOT NULL,                      -- the message it is about
    agent TEXT    NOT NULL,
    body  TEXT    NOT NULL,                      -- JSON
    PRIMARY KEY (conv, seq)
) WITHOUT ROWID;
CREATE INDEX records_tools ON records (agent, at) WHERE kind = 'tool_intended';

CREATE TABLE messages (
    id      TEXT    PRIMARY KEY,
    conv    TEXT    NOT NULL,
    seq     INTEGER NOT NULL,
    settled INTEGER NOT NULL                     -- 1 when it waits for nobody
) WITHOUT ROWID;

CREATE TABLE conversations (
    cid        TEXT    PRIMARY KEY,
    parent     TEXT    NOT NULL DEFAULT '',
    archived   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL                  -- of the newest record
) WITHOUT ROWID;
CREATE INDEX conversations_updated ON conversations (updated_at, cid);

CREATE TABLE pending (                           -- unsettled messages that are not quite new
    msg        TEXT    PRIMARY KEY,
    attempt    INTEGER NOT NULL,                 -- leases known so far
    not_before INTEGER NOT NULL                  -- microseconds since 1970, 0 for at once
) WITHOUT ROWID;

CREATE TABLE blobs (                             -- full tool results, by content
    hash       TEXT    PRIMARY KEY,              -- SHA-256, hex
    media_type TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    data       BLOB    NOT NULL
) WITHOUT ROWID;

CREATE TABLE agent_logs (
    id    INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL,
    level INTEGER NOT NULL,                      -- as slog.Level
    agent TEXT    NOT NULL,                      -- agent ID, or ""
    name  TEXT    NOT NULL,                      -- slug or file stem
    text  TEXT    NOT NULL,
    attrs TEXT    NOT NULL                       -- JSON object
);
CREATE INDEX agent_logs_name ON agent_logs (name, id);

CREATE TABLE meta (                              -- counters that outlive the process
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
