INSERT INTO t VALUES ('a', 1, 1), ('b', 1.50, 2), ('c/ #?中', 0, 3);
UPDATE t SET k = 'A' WHERE k = 'a';
UPDATE t SET k = 'B', v = 9 WHERE d = 1.5;
DELETE FROM t WHERE k = 'c/ #?中';
