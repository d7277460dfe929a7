"""journald's files as a source of audit records, each once, by sequence number."""
