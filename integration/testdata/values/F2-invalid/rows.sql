SET sql_mode = 'ALLOW_INVALID_DATES';
INSERT INTO t VALUES (1, '2023-02-30', x'd6d0a2ab41', x'd6d0a2ab41'), (2, '0000-00-00', '中', '中'), (3, '2024-02-29', x'a2ab', x'a2ab');
