CREATE TABLE t (id INT PRIMARY KEY, e ENUM('a', 'b,c', 'd''e', 'f(g)', '', 'h"i', 'back\\slash'), s SET('one', 'two', 'thr''ee'), l ENUM('ä', '€') CHARACTER SET latin1, g ENUM('中', '文') CHARACTER SET gbk,
  u SET('中', 'é') CHARACTER SET utf16);
