"""The text of audit records: line, fields, types; and the DAEMON_* records of the service."""
