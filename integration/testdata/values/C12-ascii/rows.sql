INSERT INTO t VALUES (1, 'ok  ', 'ok  ', 'ok', 'ok', 'plain,ok'), (2, '', '', '', 0, 0), (3, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t (id, v) VALUES (4, x'41ff'), (5, x'c3a9');
