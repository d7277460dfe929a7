"""The tables with words: what calls and record types do, and what their numbers mean.

They hold what `auditsvc.tables` says, written by `auditsvc.store.builtin` as names are, so that
the views can speak to any client of SQL.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, SmallInteger, Text

from auditsvc.store.schema.base import Table, big

# `kind` is call, type or operation; `object_place` and `second_place` are numbers of arguments;
# `link` is the word before the second object. `file`, `connection` and `change` say what is done
# to files, with addresses, and to the host's configuration (`auditsvc.tables.effects`).
verb = Table(
    "verb",
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("action", Text, nullable=False),
    Column("object_kind", Text, nullable=False),
    Column("object_place", SmallInteger),
    Column("second_place", SmallInteger),
    Column("link", Text, nullable=False),
    Column("file", Text),
    Column("connection", Text),
    Column("change", Text),
    sqlite_with_rowid=False,
)
# Calls that are several, by their first argument: socketcall, ipc.
part_call = Table(
    "part_call",
    Column("call", Text, primary_key=True),
    big("number", primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    sqlite_with_rowid=False,
)
# How an argument is written in words (`auditsvc.tables.shapes`).
argument_shape = Table(
    "argument_shape",
    Column("call", Text, primary_key=True),
    Column("place", SmallInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    big("mask", nullable=False),
    big("part", nullable=False),
    big("rest", nullable=False),
    Column("flags", SmallInteger, nullable=False),  # 1: it has flags
    Column("last", SmallInteger, nullable=False),
    Column("zero", Text, nullable=False),
    sqlite_with_rowid=False,
)
value_word = Table(
    "value_word",
    Column("kind", Text, primary_key=True),
    big("number", primary_key=True, autoincrement=False),
    Column("word", Text, nullable=False),
    sqlite_with_rowid=False,
)
flag_word = Table(
    "flag_word",
    Column("kind", Text, primary_key=True),
    Column("place", SmallInteger, primary_key=True, autoincrement=False),
    big("bit", nullable=False),
    Column("word", Text, nullable=False),
    sqlite_with_rowid=False,
)

WORDS: Final = (verb, part_call, argument_shape, value_word, flag_word)
"""What events did and what numbers mean, in words."""
