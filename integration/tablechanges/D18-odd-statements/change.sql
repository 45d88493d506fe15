/* a comment; with a semicolon */ ALTER /* here */ TABLE `order` -- and there
 ADD COLUMN c VARCHAR(20) DEFAULT 'x;y''z';
UPDATE `order` SET c = 'one';
alter table `order` /*!50000 modify `中` bigint */;
INSERT INTO `order` VALUES (2, 'b', 77, 'two');
ALTER TABLE `order` ADD COLUMN `d e` INT DEFAULT 5, ALTER COLUMN c SET DEFAULT 'q', ADD KEY (`中`);
UPDATE `order` SET `d e` = id;
INSERT INTO `order` (id, `we``ird`) VALUES (3, 'c');
