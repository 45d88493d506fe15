CREATE TABLE t (id INT PRIMARY KEY, c CHAR(20), v VARCHAR(100), t TEXT, e ENUM('plain', '中文乗'), s SET('plain', '中文乗')) CHARSET gbk;
