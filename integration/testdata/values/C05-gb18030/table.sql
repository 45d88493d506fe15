CREATE TABLE t (id INT PRIMARY KEY, c CHAR(20), v VARCHAR(100), t TEXT, e ENUM('plain', '中😀ẞ'), s SET('plain', '中😀ẞ')) CHARSET gb18030;
