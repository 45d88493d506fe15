UPDATE t SET s = 's1, old' WHERE id = 1;
ALTER TABLE t MODIFY n BIGINT UNSIGNED, MODIFY s TEXT;
INSERT INTO t VALUES (3, 2147483640, 'long', 'two');
ALTER TABLE t MODIFY e ENUM('zero','two','one','three') NOT NULL;
UPDATE t SET n = n + 1, e = IF(id = 3, 'three', e);
DELETE FROM t WHERE id = 2;
