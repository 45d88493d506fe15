CREATE TABLE t (id INT PRIMARY KEY, n INT, s VARCHAR(20), e ENUM('one','two') NOT NULL) CHARACTER SET utf8mb4;
INSERT INTO t VALUES (1, 1, 's1', 'two'), (2, 2, 's2', 'one');
