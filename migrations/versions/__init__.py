"""The revisions of the schema, one in each file."""
