"""What proves the log: a chain over its lines, signed heads, and their verification."""
