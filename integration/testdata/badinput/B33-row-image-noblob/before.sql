SET GLOBAL binlog_row_image = NOBLOB
