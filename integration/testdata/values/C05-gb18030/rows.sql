INSERT INTO t VALUES (1, '中😀ẞ  ', '中😀ẞ  ', '中😀ẞ', '中😀ẞ', 'plain,中😀ẞ'), (2, '', '', '', 0, 0), (3, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t (id, v) VALUES (4, x'813081309439da33'), (5, x'e3329a36');
