"""Sources of records: the audit socket, log files, journald."""
