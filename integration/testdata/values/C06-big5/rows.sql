INSERT INTO t VALUES (1, '中功  ', '中功  ', '中功', '中功', 'plain,中功'), (2, '', '', '', 0, 0), (3, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t (id, v) VALUES (4, x'a55c5c'), (5, x'41a3c0');
