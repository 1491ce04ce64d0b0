-- What versions of an agent keep apart. A version that brings the state over into another form
-- has a line of its own; versions that are not listed here go on with line 0.
CREATE TABLE agent_state_lines (
    agent   TEXT    NOT NULL,
    version INTEGER NOT NULL,
    line    INTEGER NOT NULL,
    PRIMARY KEY (agent, version)
) WITHOUT ROWID;

DROP TRIGGER state_of_removed;

CREATE TABLE agent_state_new (
    agent TEXT    NOT NULL,
    line  INTEGER NOT NULL,
    key   TEXT    NOT NULL,
    value BLOB    NOT NULL,
    PRIMARY KEY (agent, line, key)
);
INSERT INTO agent_state_new SELECT agent, 0, key, value FROM agent_state;
DROP TABLE agent_state;
ALTER TABLE agent_state_new RENAME TO agent_state;

-- How much a line holds.
CREATE TABLE agent_state_size_new (
    agent TEXT    NOT NULL,
    line  INTEGER NOT NULL,
    bytes INTEGER NOT NULL,                      -- of keys and values
    keys  INTEGER NOT NULL,
    PRIMARY KEY (agent, line)
) WITHOUT ROWID;
-- Counted anew: what was written over used to be counted in characters.
INSERT INTO agent_state_size_new
    SELECT agent, 0, sum(octet_length(key) + octet_length(value)), count(*) FROM agent_state GROUP BY agent;
DROP TABLE agent_state_size;
ALTER TABLE agent_state_size_new RENAME TO agent_state_size;

CREATE TRIGGER state_of_removed AFTER DELETE ON agents BEGIN
    DELETE FROM agent_state WHERE agent = OLD.id;
    DELETE FROM agent_state_size WHERE agent = OLD.id;
    DELETE FROM agent_state_lines WHERE agent = OLD.id;
    DELETE FROM agent_state_turns WHERE agent = OLD.id;
    DELETE FROM agent_timers WHERE agent = OLD.id;
END;
