-- Tools of MCP servers: what was seen of them, and what an operator decided.
CREATE TABLE tool_pins (
    name       TEXT    NOT NULL PRIMARY KEY,     -- mcp__server__tool
    server     TEXT    NOT NULL,
    state      TEXT    NOT NULL,                 -- quarantined, approved, blocked or denied
    reason     TEXT    NOT NULL,
    hash       TEXT    NOT NULL,                 -- SHA-256 of pinned, hex
    pinned     TEXT    NOT NULL,                 -- JSON: what was approved, or seen first
    offered    TEXT    NOT NULL,                 -- JSON: what the server says now
    first_seen INTEGER NOT NULL,                 -- microseconds since 1970
    last_seen  INTEGER NOT NULL,
    decided_by TEXT    NOT NULL,                 -- "" when nobody has decided
    decided_at INTEGER NOT NULL                  -- 0 when nobody has decided
) WITHOUT ROWID;
