CREATE TABLE t (id INT PRIMARY KEY, c CHAR(20), v VARCHAR(100), t TEXT, e ENUM('plain', 'ok'), s SET('plain', 'ok')) CHARSET ascii;
