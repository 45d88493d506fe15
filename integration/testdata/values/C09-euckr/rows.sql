INSERT INTO t VALUES (1, '한글  ', '한글  ', '한글', '한글', 'plain,한글'), (2, '', '', '', 0, 0), (3, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t (id, v) VALUES (4, x'8141'), (5, x'41c9a1');
