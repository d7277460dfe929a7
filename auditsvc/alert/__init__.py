"""Alerts: somebody is told when records are lost or may be, and when that is over.

    facts --watch thread: transitions--> messages --bounded queue--> sender thread --> channels

The reader of records and the loader wait for none of it.
"""
