CREATE TABLE t (id INT PRIMARY KEY, c CHAR(20), v VARCHAR(100), t TEXT, e ENUM('plain', '中é'), s SET('plain', '中é')) CHARSET utf8mb3;
