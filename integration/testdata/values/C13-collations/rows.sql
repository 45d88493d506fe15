INSERT INTO t VALUES (1, 'ä  ', '中 ', 'å', 'a');
