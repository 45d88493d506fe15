INSERT INTO t VALUES (1, '表ｱ①～  ', '表ｱ①～  ', '表ｱ①～', '表ｱ①～', 'plain,表ｱ①～'), (2, '', '', '', 0, 0), (3, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t (id, v) VALUES (4, x'955c5c7e'), (5, x'815f8160'), (6, x'4181ad'), (7, x'81e08790ed40fa5c');
