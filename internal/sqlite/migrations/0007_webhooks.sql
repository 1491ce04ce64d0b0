-- Webhooks, and what each has been told or is still to be told.
CREATE TABLE webhooks (
    id   TEXT    PRIMARY KEY,
    n    INTEGER NOT NULL,                       -- position up to which deliveries are queued
    at   INTEGER NOT NULL,                       -- time of the record there, microseconds since 1970
    body TEXT    NOT NULL                        -- JSON
) WITHOUT ROWID;

CREATE TABLE webhook_deliveries (
    id         TEXT    PRIMARY KEY,
    webhook    TEXT    NOT NULL,
    n          INTEGER NOT NULL,                 -- position of the record
    state      TEXT    NOT NULL,
    due        INTEGER NOT NULL,                 -- microseconds since 1970
    created_at INTEGER NOT NULL,
    body       TEXT    NOT NULL                  -- JSON: all of it
) WITHOUT ROWID;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook, due) WHERE state='pending';
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (webhook, created_at, id);
CREATE INDEX webhook_deliveries_old ON webhook_deliveries (created_at) WHERE state<>'pending';
