"""Reading a store: SQL, events with all records, the feed of new events, fixed queries."""
