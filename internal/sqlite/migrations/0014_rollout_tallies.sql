-- How the versions of an agent's rollout fared so far, so that its gates go on over a restart.
CREATE TABLE rollout_tallies (
    agent TEXT PRIMARY KEY,
    body  TEXT NOT NULL                          -- JSON
) WITHOUT ROWID;

CREATE TRIGGER tally_of_removed AFTER DELETE ON agents BEGIN
    DELETE FROM rollout_tallies WHERE agent = OLD.id;
END;
