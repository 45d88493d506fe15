CREATE TABLE t (id INT PRIMARY KEY, c CHAR(20), v VARCHAR(100), t TEXT, e ENUM('plain', '表ｱ①～'), s SET('plain', '表ｱ①～')) CHARSET cp932;
