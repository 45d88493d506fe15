INSERT INTO t (id, `we``ird 中文`, j, c) VALUES (1, 7, '{"a": [1, 2]}', 'a'), (2, NULL, NULL, NULL);
SET timestamp = 1700000000;
UPDATE t SET inv = 6 WHERE id = 2;
UPDATE t SET id = 3 WHERE id = 1;
