CREATE TABLE t (id INT PRIMARY KEY, c CHAR(20), v VARCHAR(100), t TEXT, e ENUM('plain', '中😀'), s SET('plain', '中😀')) CHARSET utf16le;
