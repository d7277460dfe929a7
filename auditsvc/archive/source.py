"""Where the rows of the views are: files of the archive, and what the store has beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset, parquet

from auditsvc.archive.manifest import Listing, day_of_date, parse
from auditsvc.archive.rows import CALL_COLUMNS, added, count_calls, read_view, stored_columns
from auditsvc.archive.views import (
    BASE,
    COUNTED,
    LASTING,
    SEEN,
    STORE_ONLY,
    Ids,
    field,
    ids_of_days,
)
from auditsvc.arrow.engine import quoted
from auditsvc.arrow.view_rows import Views
from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.errors import ArchiveError
from auditsvc.evidence.store_facts import identity_in
from auditsvc.store.partitions import DAY, day_of
from auditsvc.store.read.time_span import ALL, END, Span
from auditsvc.store.write import archived

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import duckdb
    from sqlalchemy import Connection

    from auditsvc.archive.place import Place

_NEWEST: Final = 1 << 62
_LAST_ID: Final = (END << SERIAL_BITS) | SERIAL_MASK


@dataclass(frozen=True)
class _Hot:
    """Rows of the store: ids of events, and those of them that the archive has."""

    ids: Ids
    known: pa.Array | None = None


class Source:
    """Archive and store, for one query."""

    def __init__(
        self,
        place: Place,
        names: Listing,
        connection: Connection,
        views: Mapping[str, Sequence[str]],
    ) -> None:
        self.place, self.names, self.views = place, names, views
        self._connection = connection
        self._views = Views(connection)
        self.through = -1
        seq = 0
        if names.last is not None:
            last = parse(place.read(names.last.name))
            if last.store != identity_in(connection):
                raise ArchiveError(
                    f"the archive {place.shown} is another store's", "give its store: --store URL"
                )
            self.through, seq = day_of_date(last.through), last.seq
        self._hot = [_Hot(Ids(ids_of_days(self.through + 1, self.through + 1).low, _LAST_ID))]
        self._hot += self._late(seq)

    def _late(self, seq: int) -> Iterator[_Hot]:
        """Give what arrived late for days of the archive, and is not in it yet."""
        if self.through < 0:
            return
        whole = [(0, ids_of_days(self.through, self.through).high)]
        state = archived.read(self._connection)
        # Without a state nobody has noted what arrived.
        ranges = whole if state is None else archived.late(self._connection, self.through, seq)
        for low, high in ranges:
            yield _Hot(Ids(low, high), self.ids_known(range(day_of(low), day_of(high) + 1)))

    def hot_ids(self) -> Iterator[Ids]:
        """Give the ids of the events that only the store may have."""
        return (each.ids for each in self._hot)

    def archived(
        self,
        duck: duckdb.DuckDBPyConnection,
        view: str,
        columns: Sequence[str],
        days: Collection[int],
        name: str,
    ) -> str | None:
        """Give the SELECT of a view's archived rows of some days; None if there is no file."""
        listed = ", ".join(f'"{each}"' for each in columns)
        system, start = self.place.files()
        paths = [start + each for each in self.names.files(view, days)]
        if not paths:
            return None
        if self.place.folder is not None:
            names = ", ".join(quoted(each) for each in paths)
            return f"SELECT {listed} FROM read_parquet([{names}], union_by_name = true)"  # noqa: S608
        schema = pa.schema([field(view, each) for each in stored_columns(view, self.views[view])])
        duck.register(f"far_{name}", dataset.dataset(paths, schema, "parquet", system))
        return f"SELECT {listed} FROM far_{name}"  # noqa: S608 - ours

    def days_of(self, view: str, span: Span) -> Collection[int]:
        """Give the days whose files of a view can have events of these seconds."""
        if view in LASTING or view == COUNTED:
            return self.names.parts()
        return range(span.low // DAY, span.high // DAY + 1)

    def ids_known(self, days: Collection[int]) -> pa.Array:
        """Give the ids of the events that the archive has of some days."""
        files, start = self.place.files()
        found = [
            parquet.read_table(start + name, columns=["event_id"], filesystem=files)["event_id"]
            for view in BASE
            for name in self.names.files(view, days)
        ]
        return pa.chunked_array([c for each in found for c in each.chunks], pa.int64())

    def hot(self, view: str, columns: Sequence[str], span: Span) -> pa.Table:
        """Read rows of a view that only the store has, with these stored columns."""
        if view in STORE_ONLY:
            return read_view(self._views, view, columns, Ids(0, 0))
        if view == COUNTED:
            calls = self.hot("syscalls", CALL_COLUMNS, ALL)
            return added([count_calls(calls)]) if len(calls) else self._none(view, columns)
        parts = [self._none(view, columns)]
        low, high = span.low << SERIAL_BITS, (span.high << SERIAL_BITS) | SERIAL_MASK
        for each in self._hot:
            ids = each.ids
            if view not in LASTING:
                ids = Ids(max(ids.low, low), min(ids.high, high))
            if ids.low > ids.high:
                continue
            wanted = columns
            if each.known is not None and "event_id" not in columns and view not in LASTING:
                wanted = (*columns, "event_id")
            rows = read_view(self._views, view, wanted, ids)
            if view in LASTING:
                number = pa.array([_NEWEST] * len(rows), pa.int64())
                rows = rows.append_column(field(view, SEEN), number)
            elif each.known is not None:
                rows = rows.filter(pc.invert(pc.is_in(rows["event_id"], value_set=each.known)))
            parts.append(rows.select(columns))
        return pa.concat_tables(parts)

    def _none(self, view: str, columns: Sequence[str]) -> pa.Table:
        return pa.schema([field(view, name) for name in columns]).empty_table()


def make_base(  # noqa: PLR0917 - a relation has so many parts
    duck: duckdb.DuckDBPyConnection,
    source: Source,
    view: str,
    columns: Sequence[str],
    span: Span,
    name: str,
) -> list[str]:
    """Make the stored rows of a view, of archive and store; gives the files of this host."""
    hot = source.hot(view, columns, span)
    duck.register("given", hot)
    duck.execute(f"CREATE TABLE hot_{name} AS SELECT * FROM given")  # noqa: S608 - ours
    duck.unregister("given")
    listed = ", ".join(f'"{each}"' for each in columns)
    text = f"SELECT {listed} FROM hot_{name}"  # noqa: S608 - ours
    days = [] if view in STORE_ONLY else source.days_of(view, span)
    archived = source.archived(duck, view, columns, days, name)
    duck.execute(f"CREATE VIEW {name} AS {' UNION ALL '.join(filter(None, [text, archived]))}")
    if source.place.folder is None:
        return []
    _, start = source.place.files()
    return [start + each for each in source.names.files(view, days)]
