"""The decoder in plain Python: the readable specification of the native core."""
