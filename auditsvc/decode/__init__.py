"""Bytes in, rows out: log lines -> records -> events -> rows. No I/O, no clock of its own.

The stages, one a module:

    header.py     a line                  -> type, node, stamp, body
    fields.py     a record's body         -> fields, decoded by their kind
    records.py    records that need joining or taking apart (EXECVE, SOCKADDR, PATH)
    events.py     records                 -> events, by node, time and serial
    rows.py       an event                -> rows of the star schema
    reference.py  all of it behind `interface.Decoder`

`interface.py` is the contract that every implementation keeps; `ids.py` is how
rows are named.
"""
