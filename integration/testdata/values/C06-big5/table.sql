CREATE TABLE t (id INT PRIMARY KEY, c CHAR(20), v VARCHAR(100), t TEXT, e ENUM('plain', '中功'), s SET('plain', '中功')) CHARSET big5;
