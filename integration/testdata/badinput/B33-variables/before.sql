SET GLOBAL binlog_row_image = MINIMAL
SET GLOBAL binlog_row_metadata = MINIMAL
SET GLOBAL binlog_row_value_options = PARTIAL_JSON
SET GLOBAL binlog_expire_logs_seconds = 60
