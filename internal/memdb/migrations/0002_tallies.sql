-- How much there is, kept by triggers: to count the rows of a large file takes a second.

CREATE TABLE tallies ( -- of entities that are not forgotten
	scope        INTEGER NOT NULL,
	type         TEXT NOT NULL,
	entities     INTEGER NOT NULL,
	observations INTEGER NOT NULL, -- that are current
	named        INTEGER NOT NULL,
	PRIMARY KEY (scope, type)
) WITHOUT ROWID;
INSERT INTO tallies SELECT scope, type, count(*), sum(current), sum(named) FROM entities WHERE forgotten IS NULL GROUP BY scope, type;

CREATE TABLE totals (
	what TEXT PRIMARY KEY,
	n    INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO totals VALUES
	('observations', (SELECT count(*) FROM observations)),
	('relations', (SELECT count(*) FROM relations WHERE past=0)); -- in force

CREATE TRIGGER entity_made AFTER INSERT ON entities WHEN new.forgotten IS NULL BEGIN
	INSERT INTO tallies VALUES (new.scope, new.type, 1, new.current, new.named)
		ON CONFLICT DO UPDATE SET entities=entities+1, observations=observations+new.current, named=named+new.named;
END;
CREATE TRIGGER entity_removed AFTER DELETE ON entities WHEN old.forgotten IS NULL BEGIN
	UPDATE tallies SET entities=entities-1, observations=observations-old.current, named=named-old.named WHERE scope=old.scope AND type=old.type;
END;
CREATE TRIGGER entity_changed AFTER UPDATE OF scope, type, forgotten, current, named ON entities
WHEN old.scope<>new.scope OR old.type<>new.type OR old.forgotten IS NOT new.forgotten OR old.current<>new.current OR old.named<>new.named BEGIN
	UPDATE tallies SET entities=entities-1, observations=observations-old.current, named=named-old.named
		WHERE old.forgotten IS NULL AND scope=old.scope AND type=old.type;
	INSERT INTO tallies SELECT new.scope, new.type, 1, new.current, new.named WHERE new.forgotten IS NULL
		ON CONFLICT DO UPDATE SET entities=entities+1, observations=observations+new.current, named=named+new.named;
END;
CREATE TRIGGER observation_made AFTER INSERT ON observations BEGIN
	UPDATE totals SET n=n+1 WHERE what='observations';
END;
CREATE TRIGGER observation_removed AFTER DELETE ON observations BEGIN
	UPDATE totals SET n=n-1 WHERE what='observations';
END;
CREATE TRIGGER relation_made AFTER INSERT ON relations WHEN new.past=0 BEGIN
	UPDATE totals SET n=n+1 WHERE what='relations';
END;
CREATE TRIGGER relation_removed AFTER DELETE ON relations WHEN old.past=0 BEGIN
	UPDATE totals SET n=n-1 WHERE what='relations';
END;
CREATE TRIGGER relation_changed AFTER UPDATE OF past ON relations WHEN old.past<>new.past BEGIN
	UPDATE totals SET n=n+(new.past=0)-(old.past=0) WHERE what='relations';
END;
