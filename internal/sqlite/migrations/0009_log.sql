-- Records lie in the order of commits instead of by conversation: what is written together
-- lies together, at the end of the table, and an index tells where a conversation's records
-- are. Records that are older than the order of commits come before all that have a place in it.
CREATE TABLE log (
    n     INTEGER PRIMARY KEY,                   -- order of commits over all conversations, with gaps
    conv  TEXT    NOT NULL,                      -- the conversation's ID
    seq   INTEGER NOT NULL,                      -- from 1, without gaps
    at    INTEGER NOT NULL,                      -- microseconds since 1970
    kind  TEXT    NOT NULL,
    msg   TEXT    NOT NULL,                      -- the message it is about
    agent TEXT    NOT NULL,
    body  TEXT    NOT NULL                       -- JSON
);
INSERT INTO log (n, conv, seq, at, kind, msg, agent, body)
    SELECT n, conv, seq, at, kind, msg, agent, body FROM (
        SELECT row_number() OVER (ORDER BY at, conv, seq) - (SELECT count(*) FROM records WHERE n=0) AS n,
            conv, seq, at, kind, msg, agent, body FROM records WHERE n=0
        UNION ALL
        SELECT n, conv, seq, at, kind, msg, agent, body FROM records WHERE n<>0)
    ORDER BY n;
DROP TABLE records;
ALTER TABLE log RENAME TO records;
CREATE UNIQUE INDEX records_place ON records (conv, seq);
CREATE INDEX records_tools ON records (agent, at) WHERE kind = 'tool_intended';
