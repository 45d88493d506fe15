INSERT INTO t VALUES (1, '{"b": 1, "a": [1.0, 1e300, 18446744073709551615, -9223372036854775808, true, null, "x\\u0000\\n"], "": {}}'), (2, 'null'), (3, NULL), (4, '"text"'), (5, '[]'), (6, '-0.0');
INSERT INTO t VALUES (7, JSON_OBJECT('date', CAST('2024-02-29' AS DATE), 'time', CAST('-12:34:56.789' AS TIME(6)), 'dec', 12345678901234567890.12345, 'blob', x'00ff'));
INSERT IGNORE INTO t VALUES (8, '{"n": 1, "o": {"p": [1, 2]}}');
UPDATE t SET j = JSON_SET(j, '$.n', 2, '$.o.p[0]', 'x'), j = JSON_REMOVE(j, '$.o.p[1]'), j = JSON_ARRAY_APPEND(j, '$.o.p', 3.50) WHERE id = 8;
