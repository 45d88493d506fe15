INSERT INTO t VALUES (1, 'Ä€ž  ', 'Ä€ž  ', 'Ä€ž', 'Ä€ž', 'plain,Ä€ž'), (2, '', '', '', 0, 0), (3, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t (id, v, c) VALUES (4, x'8081828d8f909d9fa0ff', x'80818d8f909d');
