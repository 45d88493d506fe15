INSERT INTO t VALUES (1, x'00112233445566778899aabbccddee00', x'00ff00', x'', x'00', x'61', x'6100', x'6200');
INSERT INTO t VALUES (2, '', '', '', '', '', '', ''), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (4, x'00', x'20', x'ff', REPEAT(x'ab', 60), x'00000000', x'20', x'ff');
