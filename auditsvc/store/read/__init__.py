"""Reading a store: SQL, whole events, the feed of what arrived, questions of other rooms."""
