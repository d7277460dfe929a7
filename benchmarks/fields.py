"""Reads every field of every record by auparse's Python binding, without using them.

fields.py FILE
"""

from __future__ import annotations

import sys

import auparse

parser = auparse.AuParser(auparse.AUSOURCE_FILE, sys.argv[1])
records = fields = 0
while parser.parse_next_event():
    parser.first_record()
    while True:
        records += 1
        if parser.first_field():
            while True:
                fields += parser.get_field_str() is not None
                if not parser.next_field():
                    break
        if not parser.next_record():
            break
print(records, fields)
