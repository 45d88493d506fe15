UPDATE t SET a = 't1, old';
RENAME TABLE t TO x, u TO t, x TO u;
UPDATE t SET a = 'u1, as t';
UPDATE u SET a = 't1, as u';
INSERT INTO t VALUES ('two', 2);
ALTER TABLE u RENAME TO y;
RENAME TABLE y TO u;
INSERT INTO u VALUES (3, 'three');
