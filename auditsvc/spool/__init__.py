"""The log on disk: segments of audit lines, their writer, reader, sink and retention."""
