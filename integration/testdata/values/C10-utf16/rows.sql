INSERT INTO t VALUES (1, '中😀  ', '中😀  ', '中😀', '中😀', 'plain,中😀'), (2, '', '', '', 0, 0), (3, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t (id, v) VALUES (4, x'd83dde00'), (5, x'0041');
