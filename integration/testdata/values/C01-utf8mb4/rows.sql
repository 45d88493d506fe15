INSERT INTO t VALUES (1, '中😀é  ', '中😀é  ', '中😀é', '中😀é', 'plain,中😀é'), (2, '', '', '', 0, 0), (3, NULL, NULL, NULL, NULL, NULL);
