"""The star schema: narrow facts of integers, and dimensions that are written once.

    syscall  --context-->  context --tty, comm, exe, subj, key, cwd, title, extra--> text
       |                      `--host--> host
       |-- exec     (its argv)            --argv-->    text
       |-- path     (its PATH records)    --file-->    file --name, obj, extra--> text
       |-- sockaddr (its addresses)       --address--> address
       `-- record   (all its other records) --fields-> text
    event    (every event without a SYSCALL; path, sockaddr and record hang on it too)

`auditsvc.decode.ids` describes the ids of events and dimensions. Integers are signed 64-bit:
the kernel's unsigned ones are stored as two's complement, and the views show them as the
kernel does. An id of -1 (4294967295, unset) is NULL. A timestamp is split: the second is in
the event's id, `ms` has the milliseconds.

The tables stand in the modules of this package, by what they are for: facts, dimensions, names
and words, what is derived from the facts, the store's own, accesses. `auditsvc.migrations` must
make exactly these tables; a test checks that.
"""

from __future__ import annotations

from auditsvc.store.schema.access import SESSION, access_end, access_entry
from auditsvc.store.schema.base import metadata
from auditsvc.store.schema.derived import (
    ACTIVITY_INDEX,
    account_name,
    activity_part,
    activity_row,
    context_row,
    file_part,
    file_row,
    file_taken,
    process_cgroup,
    process_first,
    process_mark,
    process_sign,
)
from auditsvc.store.schema.dimensions import (
    DIMENSIONS,
    HEAD,
    TEXT_INDEX,
    address,
    context,
    file,
    host,
    text,
)
from auditsvc.store.schema.facts import (
    ARGUMENTS,
    FACTS,
    GROUP_BITS,
    LOGIN_TYPES,
    SETTLED,
    SETTLED_INDEXES,
    TIME,
    TIME_INDEX,
    TOLD_TYPES,
    USER_LOGIN,
    USER_LOGIN_INDEX,
    event,
    exec_,
    path,
    record,
    sockaddr,
    syscall,
    width,
)
from auditsvc.store.schema.names import arch_name, errno_name, record_type, syscall_name
from auditsvc.store.schema.own import (
    amended,
    arrival,
    consumer,
    evidence_head,
    ledger_entry,
    origin,
    pruned_day,
    raw,
    raw_day,
    repeated,
    source,
    store_info,
    store_size,
    unused_row,
)
from auditsvc.store.schema.words import WORDS

__all__ = [
    "ACTIVITY_INDEX",
    "ARGUMENTS",
    "DIMENSIONS",
    "FACTS",
    "GROUP_BITS",
    "HEAD",
    "LOGIN_TYPES",
    "SESSION",
    "SETTLED",
    "SETTLED_INDEXES",
    "TEXT_INDEX",
    "TIME",
    "TIME_INDEX",
    "TOLD_TYPES",
    "USER_LOGIN",
    "USER_LOGIN_INDEX",
    "WORDS",
    "access_end",
    "access_entry",
    "account_name",
    "activity_part",
    "activity_row",
    "address",
    "amended",
    "arch_name",
    "arrival",
    "consumer",
    "context",
    "context_row",
    "errno_name",
    "event",
    "evidence_head",
    "exec_",
    "file",
    "file_part",
    "file_row",
    "file_taken",
    "host",
    "ledger_entry",
    "metadata",
    "origin",
    "path",
    "process_cgroup",
    "process_first",
    "process_mark",
    "process_sign",
    "pruned_day",
    "raw",
    "raw_day",
    "record",
    "record_type",
    "repeated",
    "sockaddr",
    "source",
    "store_info",
    "store_size",
    "syscall",
    "syscall_name",
    "text",
    "unused_row",
    "width",
]
