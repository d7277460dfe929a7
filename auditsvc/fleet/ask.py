"""SQL over the fleet: DuckDB, and the store's views by their names, of all hosts.

    with ask(scan, parse("SELECT host, count(*) FROM syscalls GROUP BY host")) as result:
        for row in result: ...

    with asking(scan) as questions:         # several of one snapshot, one after the other
        with questions.ask(parse(sql), limits) as result: ...

The SQL is SQLite's, as that of `query` is; values are those that SQLite has (a `time` is text).
Views are those of docs/sql.md that `auditsvc.fleet.views` has, and those over all hosts
(`auditsvc.fleet.across`); joins by `event_id` join events of one store (`auditsvc.fleet.keys`).

Conditions on time leave out days: of the table only files are read that can have rows in the time
that the query asks for. All that a query reads is of one snapshot of the table.

Invariants: one SELECT; nothing is written; the SQL reaches no network, and no files but copies of
the table's own, where there are any.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from auditsvc.arrow.engine import answer, lock, opened, quoted, running
from auditsvc.arrow.question import Question
from auditsvc.arrow.reach import EVERYTHING, Reach
from auditsvc.fleet import across, batches, views
from auditsvc.fleet.keys import keyed
from auditsvc.store.read.limits import NO_LIMITS
from auditsvc.store.read.time_span import ALL, END, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb
    from pyarrow import dataset

    from auditsvc.store.read.limits import Limits
    from auditsvc.store.read.result import Result

_OPEN_ENDED: Final = ("logins",)
"""Views whose rows are told once more by later events."""
_DAY: Final = 86_400
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    **{view: views.columns(view) for view in views.VIEWS},
    **batches.COLUMNS,
    **across.COLUMNS,
}
"""All views with their columns."""


class Rows(Protocol):
    """What has the wide rows."""

    def rows(self, within: Reach) -> dataset.Dataset | Files:
        """Give the rows of the files that can have such events."""


class Files(NamedTuple):
    """Parquet files on this machine, each with all columns of now, for DuckDB itself to read."""

    paths: Sequence[str]


def parse(sql: str, period: Span = ALL) -> Question:
    """Read one statement; QueryError."""
    return Question(sql, COLUMNS, period, partial(keyed, views=COLUMNS))


@contextmanager
def ask(source: Rows, question: Question, limits: Limits = NO_LIMITS) -> Iterator[Result]:
    """Ask a question of these rows."""
    with asking(source, limits) as questions, questions.ask(question, limits) as result:
        yield result


@contextmanager
def asking(
    source: Rows, limits: Limits = NO_LIMITS, folders: Sequence[str] = ()
) -> Iterator[Questions]:
    """Give what asks questions of these rows; of `limits` it has the memory.

    `folders`: where the rows' files can be, if they are on this machine.
    """
    with opened() as duck:
        lock(duck, (), limits, folders)
        yield Questions(duck, source)


class Questions:
    """Asks one question after the other; of a time the rows are looked for once."""

    def __init__(self, duck: duckdb.DuckDBPyConnection, source: Rows) -> None:
        self._duck, self._source = duck, source
        self._known: dict[Reach, tuple[str, str]] = {}

    @contextmanager
    def ask(
        self, question: Question, limits: Limits = NO_LIMITS, within: Reach = EVERYTHING
    ) -> Iterator[Result]:
        """Ask; the rows are to be read before the next question.

        `within`: the question asks for nothing else, even if its conditions do not say so of a
        column `time`: other files are not read.
        """
        with running(self._duck, limits):
            for view, span in question.spans.items():
                made = self._view(view, within._replace(span=span.both(within.span)))
                self._duck.execute(f'CREATE OR REPLACE VIEW "{view}" AS {made}')
            yield answer(self._duck, question)

    def _view(self, view: str, within: Reach) -> str:
        """Give the SQL of a view, with the values that SQLite has."""
        times: tuple[str, ...] = ("time", "hour", "since", "made", "newest")
        if view in across.COLUMNS:
            text = across.select(view, lambda of: f"({self._body(of, EVERYTHING)})")
            times = across.TIMES
        else:
            text = self._body(view, _reach(view, within))
        shown = ", ".join(
            f"{_shown(view, name, name in times)} AS {name}" for name in COLUMNS[view]
        )
        return f"SELECT {shown} FROM ({text}) native"  # noqa: S608 - of this package's text

    def _body(self, view: str, within: Reach) -> str:
        raw, current = self._rows(within)
        if view in batches.VIEWS:
            return batches.select(view, raw)
        return views.select(view, current)

    def _rows(self, within: Reach) -> tuple[str, str]:
        """Give the names of the rows of a time: all, and those that count."""
        if within not in self._known:
            n = len(self._known)
            raw, later, current = f"rows_{n}", f"later_{n}", f"current_{n}"
            found = self._source.rows(within)
            if isinstance(found, Files):
                listed = ", ".join(map(quoted, found.paths))
                read = f"read_parquet([{listed}], hive_partitioning = false)"
                self._duck.execute(f"CREATE VIEW {raw} AS SELECT * FROM {read}")  # noqa: S608
            else:
                self._duck.register(raw, found)
            self._duck.execute(f"CREATE TABLE {later} AS {views.later(raw)}")
            has_later = self._duck.execute(f"SELECT count(*) FROM {later}").fetchone() != (0,)  # noqa: S608
            text = views.current(raw, later if has_later else None)
            self._duck.execute(f"CREATE VIEW {current} AS {text}")
            self._known[within] = raw, current
        return self._known[within]


def _reach(view: str, within: Reach) -> Reach:
    """Give the time of the rows that say something of a view's rows of a time."""
    if view in _OPEN_ENDED:
        return within._replace(span=Span(max(0, within.span.low - _DAY), END))
    return within


def _shown(view: str, name: str, is_time: bool) -> str:
    """Give a column with the type that SQLite has."""
    if is_time and view == "activity":
        return f"strftime({name}, '%Y-%m-%d %H:%M:%S')"
    if is_time:
        return f"strftime({name}, '%Y-%m-%d %H:%M:%S.%g')"
    return f"CAST({name} AS BIGINT)" if name == "success" else f'"{name}"'
