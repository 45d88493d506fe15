INSERT INTO t VALUES (1, '中é  ', '中é  ', '中é', '中é', 'plain,中é'), (2, '', '', '', 0, 0), (3, NULL, NULL, NULL, NULL, NULL);
