-- The journal: one append-only log per conversation.
CREATE TABLE conversations (
    id         INTEGER PRIMARY KEY,              -- short number used inside this file
    cid        TEXT    NOT NULL UNIQUE,          -- the conversation's ID
    parent     TEXT    NOT NULL DEFAULT '',
    archived   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,                 -- microseconds since 1970
    updated_at INTEGER NOT NULL                  -- of the newest record; written with a little delay
);
CREATE INDEX conversations_updated ON conversations (updated_at DESC, id DESC);

CREATE TABLE records (
    conv  INTEGER NOT NULL,
    seq   INTEGER NOT NULL,                      -- from 1, without gaps
    at    INTEGER NOT NULL,
    kind  TEXT    NOT NULL,
    msg   TEXT    NOT NULL,                      -- the message it is about
    agent TEXT    NOT NULL,
    body  TEXT    NOT NULL,                      -- JSON
    PRIMARY KEY (conv, seq)
) WITHOUT ROWID;
CREATE INDEX records_tools ON records (agent, at) WHERE kind = 'tool_intended';

CREATE TABLE messages (                          -- where each message stands in its log
    id   TEXT    PRIMARY KEY,
    conv INTEGER NOT NULL,
    seq  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE pending (                           -- accepted and not settled: what a restart resumes
    msg        TEXT    PRIMARY KEY,
    conv       INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    agent      TEXT    NOT NULL,
    version    INTEGER NOT NULL,
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
