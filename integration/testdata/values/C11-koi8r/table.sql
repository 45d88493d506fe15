CREATE TABLE t (id INT PRIMARY KEY, c CHAR(20), v VARCHAR(100), t TEXT, e ENUM('plain', 'Яж'), s SET('plain', 'Яж')) CHARSET koi8r;
