INSERT INTO t VALUES (1, '中文乗  ', '中文乗  ', '中文乗', '中文乗', 'plain,中文乗'), (2, '', '', '', 0, 0), (3, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t (id, v) VALUES (4, x'815cd6d05c'), (5, x'41a2ab');
