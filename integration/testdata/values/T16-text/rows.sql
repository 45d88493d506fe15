INSERT INTO t VALUES (1, 'a b  ', 'ñandú', 'a b  ', 'a\0b', '"\\/\b\t\n\r<>&', '😀中');
INSERT INTO t VALUES (2, '', '', '', '', '', ''), (3, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t VALUES (4, REPEAT('😀', 10), NULL, CONCAT(REPEAT('x', 255), 'y'), REPEAT('x', 255), 'NULL', 'null');
