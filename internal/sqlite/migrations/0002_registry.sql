-- The registry: which agents are deployed, and every version of them.
CREATE TABLE agents (
    id          TEXT    PRIMARY KEY,
    name        TEXT    NOT NULL,
    stem        TEXT    NOT NULL,                -- file name without extension, or ""
    type        TEXT    NOT NULL,
    version     INTEGER NOT NULL,                -- the active one
    versions    INTEGER NOT NULL,                -- how many there are
    min_version INTEGER NOT NULL,
    suspended   INTEGER NOT NULL,
    source      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,                -- microseconds since 1970
    updated_at  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE agent_versions (
    agent      TEXT    NOT NULL,
    number     INTEGER NOT NULL,                 -- from 1, without gaps
    hash       TEXT    NOT NULL,                 -- SHA-256 of text, hex
    author     TEXT    NOT NULL,
    source     TEXT    NOT NULL,
    format     TEXT    NOT NULL,
    text       BLOB    NOT NULL,                 -- as it was given
    definition TEXT    NOT NULL,                 -- JSON: what was read from it
    created_at INTEGER NOT NULL,
    PRIMARY KEY (agent, number)
);
