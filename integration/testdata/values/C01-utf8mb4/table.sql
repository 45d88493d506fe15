CREATE TABLE t (id INT PRIMARY KEY, c CHAR(20), v VARCHAR(100), t TEXT, e ENUM('plain', '中😀é'), s SET('plain', '中😀é')) CHARSET utf8mb4;
