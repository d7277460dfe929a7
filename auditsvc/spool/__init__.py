"""The spool, the log on disk: segments of audit lines, their writer, reader, sink, retention."""
