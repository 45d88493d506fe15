INSERT INTO t VALUES (1, '表ｱ  ', '表ｱ  ', '表ｱ', '表ｱ', 'plain,表ｱ'), (2, '', '', '', 0, 0), (3, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t (id, v) VALUES (4, x'955c5c7e'), (5, x'815f8160'), (6, x'4181ad');
