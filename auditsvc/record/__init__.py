"""An audit record's text: line, fields, type; and the DAEMON_* records that we write."""
