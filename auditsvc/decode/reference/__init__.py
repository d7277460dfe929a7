"""The decoder in Python: the readable specification of the native core."""
