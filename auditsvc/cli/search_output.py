"""Writes the events of a search in a format, with the trees of their processes if asked for.

With trees each event is followed by its process's, indented; in `raw` behind `# `, which is no
record of a log; in CSV in the column TREE, in JSON as the member `tree`. Where lines stand below
each other, a tree is drawn once, below the first event of its process.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, TextIO

from auditsvc.host.terminal import visible
from auditsvc.processes.drawing import as_values, draw
from auditsvc.render.colour import ALARM, FAILED, marked
from auditsvc.render.fit import terminal_width
from auditsvc.render.rows import Format, write_rows
from auditsvc.render.table import Else, flowing
from auditsvc.search import formats
from auditsvc.search.lines import Bytes, lines_of
from auditsvc.search.records import records_of
from auditsvc.store.read.result import Result
from auditsvc.value_text import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from auditsvc.processes.drawing import UserName
    from auditsvc.processes.event_trees import EventTrees
    from auditsvc.processes.report import Tree
    from auditsvc.search.select import Found
    from auditsvc.store.read.events import Event

    Beside = Iterable[tuple[Event, Tree | None]]

_INDENT: Final = "    "


class As(Enum):
    """How events are shown; the first five words are ausearch's."""

    RAW = "raw"
    DEFAULT = "default"
    INTERPRET = "interpret"
    TEXT = "text"
    CSV = "csv"
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


class Show:
    """Writes events in a format."""

    def __init__(
        self,
        form: As,
        style: formats.Style,
        extra: formats.Extra,
        *,
        exact: bool = False,
        flush: bool = False,
        coloured: bool = False,
        trees: EventTrees | None = None,
        users: UserName = lambda _host, _uid: None,
    ) -> None:
        """`trees` gives the trees to write, `users` the names in them."""
        self._form = form
        self._style = style
        self._extra = extra
        self._exact = exact
        self._flush = flush
        self._coloured = coloured
        self._trees = trees
        self._users = users
        self._drawn: set[int] = set()
        self._known = Bytes()

    def write(self, found: Found, events: Iterable[Event], out: TextIO) -> None:
        """Write them as they come."""
        beside = None if self._trees is None else self._trees.beside(events)
        if self._form in (As.JSON, As.JSONL):
            write_rows(self._json(events, beside), Format(self._form.value), out)
        elif self._form is As.CSV:
            write_rows(self._csv(events, beside), Format.CSV, out, exact=self._exact)
        elif self._form is As.TABLE and beside is None:
            self._table(events, out)
        else:
            for event, tree in beside or ((each, None) for each in events):
                out.writelines(f"{line}\n" for line in self._lines(found, event, out))
                if beside is not None:
                    out.writelines(f"{line}\n" for line in self._tree(tree, out))
                if self._flush:
                    out.flush()
            out.flush()

    def _json(self, events: Iterable[Event], beside: Beside | None) -> Result:
        if beside is None:
            return Result(formats.JSON, map(formats.json_row, events))
        rows = (
            (*formats.json_row(event), None if tree is None else as_values(tree))
            for event, tree in beside
        )
        return Result((*formats.JSON, "tree"), rows)

    def _csv(self, events: Iterable[Event], beside: Beside | None) -> Result:
        def row(event: Event) -> tuple[object, ...]:
            return formats.csv_row(event, records_of(event), self._style, self._extra)

        columns = formats.csv_columns(self._extra)
        if beside is None:
            return Result(columns, map(row, events))
        rows = (
            (*row(event), "" if tree is None else "\n".join(draw([tree], self._users)))
            for event, tree in beside
        )
        return Result((*columns, "TREE"), rows)

    def _table(self, events: Iterable[Event], out: TextIO) -> None:
        if not self._coloured:
            rows = (formats.table_row(each, self._style) for each in events)
            write_rows(Result(formats.TABLE, rows), Format.TABLE, out, otherwise=Else.FLOWING)
            return
        # A row's marks follow from its event: a table asks for them by the row that it got.
        marks: dict[int, Sequence[str | None]] = {}

        def marked_rows() -> Iterator[tuple[object, ...]]:
            for each in events:
                row = formats.table_row(each, self._style)
                marks[id(row)] = formats.table_marks(each)
                yield row

        write_rows(
            Result(formats.TABLE, marked_rows()),
            Format.TABLE,
            out,
            marks=lambda row: marks.pop(id(row)),
            otherwise=Else.FLOWING,
        )

    def _lines(self, found: Found, event: Event, out: TextIO) -> Iterator[str]:
        if self._form is As.TABLE:
            cells = zip(
                formats.table_row(event, self._style), formats.table_marks(event), strict=True
            )
            row = [
                (visible(as_text(cell)), mark if self._coloured else None) for cell, mark in cells
            ]
            width = terminal_width() if out.isatty() else None
            yield from (line.removesuffix("\n") for line in flowing([row], width))
            return
        if self._form is As.TEXT:
            alarm = self._coloured and formats.is_failed(event)
            line = formats.sentence(event, self._style)
            yield marked(line, self._alarm(event) if alarm else None)
            return
        records = records_of(event)
        if self._form is As.INTERPRET:
            lines = formats.interpreted(event, records, self._style)
            yield from map(self._record, lines)
            return
        self._known.look_up(found.connection, records)
        plain = list(lines_of(event, records, self._known, node=bool(self._style.node(event))))
        if self._form is As.DEFAULT:
            yield from map(self._record, formats.plain(event, plain, self._style))
            return
        texts = (line.decode(errors="backslashreplace") for line in plain)
        yield from map(visible, texts) if out.isatty() else texts

    @staticmethod
    def _alarm(event: Event) -> str:
        return ALARM if formats.is_alarming(event) else FAILED

    def _record(self, line: str) -> str:
        return formats.coloured_record(line) if self._coloured else line

    def _tree(self, tree: Tree | None, out: TextIO) -> Iterator[str]:
        """Give the lines of a tree, once."""
        lead = "# " if self._form is As.RAW else _INDENT
        if tree is None:
            yield f"{lead}(no process of this event is known)"
            return
        begun = tree.root.life.begun
        if begun.id in self._drawn:
            yield f"{lead}(process {begun.pid}: see above)"
            return
        self._drawn.add(begun.id)
        coloured = self._coloured and self._form is not As.RAW
        width = terminal_width() - len(lead) if out.isatty() else None
        for line in draw([tree], self._users, coloured=coloured, width=width):
            yield f"{lead}{line}"
