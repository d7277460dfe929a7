"""Values of PostgreSQL: those that Python has no exact type for come as the server's text.

psycopg refuses times beyond the years 1 to 9999 and `infinity`, makes a month of an interval
30 days, and reads JSON with Python's reader, which loses a name that stands twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import DataError, adapters
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.json import set_json_loads
from psycopg.types.multirange import MultirangeInfo
from psycopg.types.range import RangeInfo
from psycopg.types.string import TextLoader

from auditsvc.value_text import read_json

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.abc import AdaptContext, Buffer

_AS_TEXT: Final = ("interval", "time", "timetz", "inet", "cidr", "uuid", "record")
_TIMES: Final = ("date", "timestamp", "timestamptz")


class _Time(Loader):
    """A time that Python has, else the server's text of it."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        loader = adapters.get_loader(oid, Format.TEXT)
        assert loader is not None
        self._loader = loader(oid, context)

    def load(self, data: Buffer) -> Any:
        try:
            return self._loader.load(data)
        except (DataError, NotImplementedError, ValueError, OverflowError):
            return bytes(data).decode(errors="backslashreplace")


def take_values(connection: Connection) -> None:
    """See that each value that the connection reads is one that `value_text` can write."""
    register = connection.adapters.register_loader
    for name in _AS_TEXT:
        register(name, TextLoader)
    for info in connection.adapters.types:
        if isinstance(info, RangeInfo | MultirangeInfo):
            register(info.oid, TextLoader)
    for name in _TIMES:
        register(name, _Time)
    set_json_loads(read_json, connection)
