-- Where a message is in the log is told by an index, and whether it waits for an answer by the
-- log and the table pending: one row less to write for each message, and one less to change.
-- The value "flushed" in meta is a position: what the records up to it leave open is in
-- pending, and their conversations are in the table conversations.
CREATE UNIQUE INDEX records_message ON records (msg) WHERE kind = 'message';

DELETE FROM pending WHERE msg NOT IN (SELECT id FROM messages WHERE settled=0);
INSERT OR IGNORE INTO pending (msg, attempt, not_before) SELECT id, 0, 0 FROM messages WHERE settled=0;

-- As it was done after a crash so far: conversations of the newest messages may be missing.
INSERT INTO conversations (cid, created_at, updated_at, parent)
    SELECT r.conv,
        coalesce((SELECT f.at FROM records f WHERE f.conv=r.conv AND f.seq=1 AND f.kind='forked'), min(r.at)), max(r.at),
        coalesce((SELECT coalesce(iif(json_valid(f.body), json_extract(f.body, '$.message.parent'), NULL),
            iif(json_valid(f.body), json_extract(f.body, '$.from'), NULL)) FROM records f WHERE f.conv=r.conv AND f.seq=1), '')
    FROM records r
    WHERE r.conv IN (SELECT conv FROM messages WHERE id>=coalesce((SELECT value FROM meta WHERE key='bound'), '')
        UNION SELECT conv FROM messages WHERE settled=0)
    GROUP BY r.conv
    ON CONFLICT (cid) DO UPDATE SET updated_at=max(updated_at, excluded.updated_at);

DELETE FROM meta WHERE key IN ('bound', 'imported');
INSERT INTO meta (key, value) SELECT 'flushed', max(n) FROM records HAVING max(n) IS NOT NULL;
DROP TABLE messages;
