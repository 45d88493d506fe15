INSERT INTO t VALUES (1, 'Яж  ', 'Яж  ', 'Яж', 'Яж', 'plain,Яж'), (2, '', '', '', 0, 0), (3, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t (id, v) VALUES (4, x'ffb380');
