-- Schedules: what must be known of them after a restart.
CREATE TABLE schedules (
    agent        TEXT    PRIMARY KEY,
    schedule     TEXT    NOT NULL,               -- expression and zone it is about
    through      INTEGER NOT NULL,               -- every time up to this one is dealt with; microseconds since 1970
    last_run     INTEGER NOT NULL,               -- when the latest run was due; 0 before the first
    message      TEXT    NOT NULL,               -- that began it, or ""
    conversation TEXT    NOT NULL,
    missed       INTEGER NOT NULL,
    overlapped   INTEGER NOT NULL,
    error        TEXT    NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER schedules_of_removed AFTER DELETE ON agents BEGIN
    DELETE FROM schedules WHERE agent = OLD.id;
END;
