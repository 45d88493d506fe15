SET GLOBAL binlog_row_image = FULL
SET GLOBAL binlog_row_metadata = FULL
SET GLOBAL binlog_row_value_options = DEFAULT
SET GLOBAL binlog_expire_logs_seconds = DEFAULT
