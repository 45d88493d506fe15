INSERT INTO t VALUES (1, '表ｱ丂  ', '表ｱ丂  ', '表ｱ丂', '表ｱ丂', 'plain,表ｱ丂'), (2, '', '', '', 0, 0), (3, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t (id, v) VALUES (4, x'a1c0a1c1'), (5, x'8fb0a1'), (6, x'41a9a1');
