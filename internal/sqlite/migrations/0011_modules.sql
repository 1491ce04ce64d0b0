-- WASM agents: which module a version runs, and what agents keep from one message to the next.
ALTER TABLE agent_versions ADD COLUMN module TEXT NOT NULL DEFAULT '';
CREATE INDEX agent_versions_module ON agent_versions (module) WHERE module <> '';

CREATE TABLE agent_state (
    agent TEXT NOT NULL,
    key   TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (agent, key)
);

-- How much an agent keeps, and how many turns have changed it.
CREATE TABLE agent_state_size (
    agent TEXT    PRIMARY KEY,
    bytes INTEGER NOT NULL,                      -- of keys and values
    keys  INTEGER NOT NULL,
    turns INTEGER NOT NULL
) WITHOUT ROWID;

-- What the latest turns that changed the state said: a turn that runs again because the
-- process died before its message was settled says that, and changes nothing.
CREATE TABLE agent_state_turns (
    agent   TEXT    NOT NULL,
    n       INTEGER NOT NULL,                    -- of the turn
    msg     TEXT    NOT NULL,
    outputs BLOB    NOT NULL,
    PRIMARY KEY (agent, n)
);
CREATE UNIQUE INDEX agent_state_turns_msg ON agent_state_turns (agent, msg);

CREATE TABLE agent_timers (
    agent TEXT    NOT NULL,
    id    INTEGER NOT NULL,
    due   INTEGER NOT NULL,                      -- microseconds since 1970
    PRIMARY KEY (agent, id)
) WITHOUT ROWID;
CREATE INDEX agent_timers_due ON agent_timers (due);

CREATE TRIGGER state_of_removed AFTER DELETE ON agents BEGIN
    DELETE FROM agent_state WHERE agent = OLD.id;
    DELETE FROM agent_state_size WHERE agent = OLD.id;
    DELETE FROM agent_state_turns WHERE agent = OLD.id;
    DELETE FROM agent_timers WHERE agent = OLD.id;
END;
