CREATE TABLE t (id INT PRIMARY KEY, c CHAR(20), v VARCHAR(100), t TEXT, e ENUM('plain', '한글'), s SET('plain', '한글')) CHARSET euckr;
