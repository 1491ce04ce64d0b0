-- Full-text search over what was said. Both tables are made from records and lag a little
-- behind them; see search.go.
CREATE VIRTUAL TABLE message_texts USING fts5 (
    text,
    conv UNINDEXED,
    seq UNINDEXED,
    tokenize = 'unicode61 remove_diacritics 2'
);

CREATE TABLE searched (                          -- how far the log of a conversation is in message_texts
    conv TEXT    PRIMARY KEY,
    seq  INTEGER NOT NULL
) WITHOUT ROWID;
