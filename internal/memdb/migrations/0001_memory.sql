-- Times are microseconds since 1970; NULL is none. IDs are those of caxton.MemoryID.

CREATE TABLE meta (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE scopes (
	n        INTEGER PRIMARY KEY,
	kind     TEXT NOT NULL,
	owner    TEXT NOT NULL,
	passages INTEGER NOT NULL DEFAULT 0, -- in the text index
	UNIQUE (kind, owner)
);

-- One act of remembering. What it wrote has IDs from first to last.
CREATE TABLE origins (
	n            INTEGER PRIMARY KEY,
	first        INTEGER NOT NULL,
	last         INTEGER NOT NULL,
	conversation TEXT,
	message      TEXT,
	agent        TEXT,
	version      INTEGER,
	tool         TEXT,
	by           TEXT
);
CREATE INDEX origin_conversation ON origins (conversation) WHERE conversation IS NOT NULL;
CREATE INDEX origin_message ON origins (message) WHERE message IS NOT NULL;

-- One act of forgetting or reverting.
CREATE TABLE endings (
	n      INTEGER PRIMARY KEY,
	at     INTEGER NOT NULL,
	kind   TEXT NOT NULL, -- forgotten, reverted
	actor  TEXT NOT NULL,
	reason TEXT NOT NULL,
	origin INTEGER NOT NULL
);

CREATE TABLE entities (
	id         INTEGER PRIMARY KEY,
	scope      INTEGER NOT NULL,
	name       TEXT NOT NULL,
	fold       TEXT NOT NULL, -- the name, by which it is found ignoring case
	type       TEXT NOT NULL,
	importance REAL NOT NULL,
	metadata   TEXT,
	version    INTEGER NOT NULL,
	created    INTEGER NOT NULL,
	since      INTEGER NOT NULL, -- of the version
	updated    INTEGER NOT NULL,
	forgotten  INTEGER,
	origin     INTEGER NOT NULL, -- of the version
	current    INTEGER NOT NULL DEFAULT 0, -- observations
	bytes      INTEGER NOT NULL DEFAULT 0, -- of their texts
	named      INTEGER NOT NULL DEFAULT 0  -- it is a passage itself
);
CREATE INDEX entity_name ON entities (fold, scope);
CREATE INDEX entity_updated ON entities (scope, updated);

-- Entities as they were.
CREATE TABLE versions (
	entity     INTEGER NOT NULL,
	version    INTEGER NOT NULL,
	type       TEXT NOT NULL,
	importance REAL NOT NULL,
	metadata   TEXT,
	since      INTEGER NOT NULL,
	until      INTEGER NOT NULL,
	origin     INTEGER NOT NULL,
	PRIMARY KEY (entity, version)
) WITHOUT ROWID;

CREATE TABLE observations (
	id         INTEGER PRIMARY KEY,
	entity     INTEGER NOT NULL,
	scope      INTEGER NOT NULL,
	state      INTEGER NOT NULL, -- 0 holds, 1 holds now and then, 2 past
	hash       INTEGER NOT NULL, -- of the normalised text
	known_from INTEGER NOT NULL,
	gone       INTEGER,          -- reverted or forgotten
	undone     INTEGER,          -- reverted: what it had taken the place of holds again
	ending     INTEGER,
	origin     INTEGER NOT NULL,
	key        TEXT,
	line       INTEGER,          -- the first of those of which the last one counts
	supersedes INTEGER,
	same       INTEGER,          -- it repeats that one, and counts when that is gone
	confidence REAL,             -- NULL is 1
	valid_from INTEGER,
	valid_to   INTEGER,
	text       TEXT NOT NULL
);
CREATE INDEX observation_entity ON observations (entity, hash);
CREATE INDEX observation_key ON observations (entity, key) WHERE key IS NOT NULL;
CREATE INDEX observation_line ON observations (line, known_from) WHERE line IS NOT NULL;
CREATE INDEX observation_supersedes ON observations (supersedes) WHERE supersedes IS NOT NULL;
CREATE INDEX observation_same ON observations (same) WHERE same IS NOT NULL;

-- What was said of a relation. The last row of an id that is not gone counts.
CREATE TABLE relations (
	n          INTEGER PRIMARY KEY, -- of the first row: the id
	id         INTEGER NOT NULL,
	source     INTEGER NOT NULL,
	target     INTEGER NOT NULL,
	scope      INTEGER NOT NULL,
	past       INTEGER NOT NULL,
	type       TEXT NOT NULL,
	strength   REAL NOT NULL,
	confidence REAL NOT NULL,
	metadata   TEXT,
	valid_from INTEGER,
	valid_to   INTEGER,
	known_from INTEGER NOT NULL,
	gone       INTEGER,
	ending     INTEGER,
	origin     INTEGER NOT NULL
);
CREATE INDEX relation_source ON relations (source, target, type);
CREATE INDEX relation_target ON relations (target);
CREATE INDEX relation_id ON relations (id) WHERE n <> id;

-- What happened and cannot be read off the rows.
CREATE TABLE events (
	n           INTEGER PRIMARY KEY,
	entity      INTEGER NOT NULL,
	at          INTEGER NOT NULL,
	kind        TEXT NOT NULL,
	observation INTEGER,
	relation    INTEGER,
	detail      TEXT NOT NULL,
	origin      INTEGER NOT NULL
);
CREATE INDEX event_entity ON events (entity);

-- The words of each passage, and of its scope. The rowid is the passage's.
CREATE VIRTUAL TABLE passages USING fts5 (
	words, content='', contentless_delete=1, detail='none',
	tokenize='porter unicode61 remove_diacritics 2'
);
INSERT INTO passages (passages, rank) VALUES ('pgsz', 4000);

CREATE TABLE models (
	n       INTEGER PRIMARY KEY,
	name    TEXT NOT NULL UNIQUE,
	mark    INTEGER NOT NULL DEFAULT 0,
	vectors INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE embeddings (
	n       INTEGER PRIMARY KEY,
	passage INTEGER NOT NULL,
	model   INTEGER NOT NULL,
	vector  BLOB NOT NULL -- float32, little endian
);
CREATE UNIQUE INDEX embedding_passage ON embeddings (passage, model);
CREATE TABLE vector_log (
	seq     INTEGER PRIMARY KEY AUTOINCREMENT,
	passage INTEGER NOT NULL
);
CREATE TABLE segments (
	n    INTEGER PRIMARY KEY, -- model<<32 | id
	blob BLOB NOT NULL
);
