CREATE TABLE t (id INT PRIMARY KEY, c CHAR(20), v VARCHAR(100), t TEXT, e ENUM('plain', 'Ä€ž'), s SET('plain', 'Ä€ž')) CHARSET latin1;
