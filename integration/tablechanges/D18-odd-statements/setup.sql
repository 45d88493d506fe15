CREATE TABLE `order` (id INT PRIMARY KEY, `we``ird` VARCHAR(20), `中` INT);
INSERT INTO `order` VALUES (1, 'a', 10);
