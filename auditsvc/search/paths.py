"""The alternatives of a search for files and sockets by their paths, or by a part of these.

A path is the name that a call gave, or that of its working directory and a name in it. How many
names there are that fulfil a condition is not known: these are asked by `named_files`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.search import callers, named_files
from auditsvc.search.alternatives import ANY, Condition, Rows, any_of
from auditsvc.search.dialect import listed, literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.search.alternatives import Alternative
    from auditsvc.search.dialect import Dialect

_IS_RELATIVE: Final = "(substr(name, 1, 2) IN ('./', '..'))"
_PLAIN_SOCKET: Final = "CASE WHEN substr(path, 1, 1) = '@' THEN substr(path, 2) ELSE path END"


class Paths:
    """Writes the alternatives of files, and collects the conditions on their names."""

    def __init__(
        self,
        dialect: Dialect,
        asked_callers: list[tuple[str, str]],
        *,
        whole: bool,
        views_only: bool,
    ) -> None:
        """`asked_callers`, `whole`, `views_only`: as in `Conditions`."""
        self._callers = asked_callers
        self._dialect = dialect
        self._whole = whole
        self._views_only = views_only
        self.names: list[tuple[str, str]] = []
        """Columns of files, and conditions on them that have a table each (`named_files`)."""

    def with_text(self, text: str) -> tuple[Alternative, ...]:
        """Give the alternatives that the name of a file or a socket has this text."""
        found = self._dialect.has("name", text, whole=self._whole)
        if self._whole:
            named = Rows("paths", f"{found} AND NOT {_IS_RELATIVE}")
        else:
            named = self.of_names(found)
        # The kernel writes a file without a name as (null).
        unnamed = (self.of_names(named_files.NAMELESS),) if text == "(null)" else ()
        socket = self._dialect.has(_PLAIN_SOCKET, text, whole=self._whole)
        return named, *unnamed, Rows("sockaddrs", self._unix(socket))

    def of_names(self, condition: str, call: str = "", column: str = "name") -> Rows:
        """Give the alternative that a file's name fulfils this; nobody knows how many do."""
        if self._views_only:
            return Rows("paths", condition, call)
        self.names.append((column, condition))
        return Rows(named_files.view_of(len(self.names) - 1), ANY, call)

    def joined(self, text: str) -> Iterator[Rows]:
        """Give the alternatives of a text that spans a directory and a name in it.

        ausearch joins names that begin with ./ or ../ with the working directory.
        """
        for at, sign in enumerate(text):
            left, right = text[:at], text[at + 1 :]
            if sign != "/" or (right and right[0] != "."):
                continue
            if self._whole:
                if right[:2] in ("./", ".."):
                    yield Rows("paths", f"name = {literal(right)}", f"cwd = {literal(left)}")
                continue
            begins = f" AND substr(name, 1, {len(right)}) = {literal(right)}" if right else ""
            ends = self._dialect.ends.format("cwd", len(left), literal(left)) if left else ""
            yield self.of_names(f"{_IS_RELATIVE}{begins}", ends or "cwd IS NOT NULL")

    def _seldom(self, condition: str) -> str:
        return self._dialect.seldom.format(f"({condition})")

    def _unix(self, condition: str) -> str:
        return f"family = 'unix' AND {self._seldom(condition)}"

    def at(self, path: str) -> Condition:
        """Give the condition that a file has this full path, or one below it."""
        path = path.rstrip("/") or "/"
        inner = path.rstrip("/") + "/"
        here = f"(cwd = {literal(path)} OR {_begins('cwd', inner)})"
        relative = "substr(name, 1, 1) <> '/' AND substr(name, 1, 2) <> '..'"
        exact, within = f"name = {literal(path)}", _begins("name", inner)
        socket = (f"path = {literal(path)}", _begins("path", inner))
        above = []  # folders above it, and the names that are relative to one
        parts = path.strip("/").split("/")
        for at in range(len(parts)):
            rest = "/".join(parts[at:])
            above.append((literal("/" + "/".join(parts[:at])), (rest, f"./{rest}")))
        if self._views_only:
            return self._in_views(any_of(exact, within), socket, (here, relative), above)
        found: list[Alternative] = [
            Rows("paths", exact),
            self.of_names(within),
            *self._below(here, relative),
            *(Rows("sockaddrs", self._unix(each)) for each in socket),
        ]
        found += self._above(above)
        others = [each for each in found if isinstance(each, Rows) and not each.call]
        return Condition(tuple(found), tuple(others))

    def _above(self, above: list[tuple[str, tuple[str, str]]]) -> Iterator[Rows]:
        """Give the alternatives of a file that is named relative to a folder above it."""
        names, below = [], []
        tests: list[list[str]] = [[], []]
        for cwd, relative_names in above:
            for name in relative_names:
                names.append(literal(name))
                below.append(_begins("name", f"{name}/"))
                for test, is_it in zip(tests, (f"name = {names[-1]}", below[-1]), strict=True):
                    of_it = f"paths.event_id = syscalls.event_id AND {is_it}"
                    test.append(f"(cwd = {cwd} AND EXISTS (SELECT 1 FROM paths WHERE {of_it}))")  # noqa: S608
                if not self._dialect.own_tables:
                    yield Rows("paths", f"name = {names[-1]}", f"cwd = {cwd}")
        if self._dialect.own_tables:  # planned at once; SQLite finds one name by the index
            yield Rows("paths", f"name IN ({', '.join(names)})", any_of(*tests[0]))
        yield self.of_names(any_of(*below), any_of(*tests[1]))

    def _below(self, here: str, relative: str) -> Iterator[Alternative]:
        """Give the alternatives of a file that is named relative to a directory that is `here`.

        Most calls may be in such a directory, or most names be relative: where the calls are
        few, each is asked for its names; else the names are looked for first.
        """
        self._callers.append(("cwd", here))
        number = len(self._callers) - 1
        # OFFSET: PostgreSQL would look for all relative names that there are, to join them.
        each = " OFFSET 0" if self._dialect.own_tables else ""
        of_it = f"paths.event_id = syscalls.event_id AND {relative}{each}"
        few = callers.calls_if_few(number, self._dialect)
        yield f"({self._is_one_of(few)} AND EXISTS (SELECT 1 FROM paths WHERE {of_it}))"  # noqa: S608 - as above
        named = self.of_names(relative).view
        yield self._is_one_of(callers.calls_among_if_many(number, self._dialect, named))

    def _is_one_of(self, ids: str) -> str:
        """Write that a call is one of these, which are found first.

        Of a list PostgreSQL does not know how long it is, and it may join that to all calls.
        """
        if self._dialect.own_tables:
            return f"event_id = ANY (ARRAY({ids}))"
        return f"event_id IN ({ids})"

    def _in_views(
        self,
        name: str,
        socket: tuple[str, str],
        inside: tuple[str, str],
        above: list[tuple[str, tuple[str, str]]],
    ) -> Condition:
        """Give it where there is no index: each view is read once.

        `inside`: the working directory is the folder or below it, and the name is relative.
        """
        here, relative = inside
        alone = (Rows("paths", name), Rows("sockaddrs", self._unix(any_of(*socket))))
        tests = [f"({here} AND {relative})"]
        for cwd, names_ in above:
            found = [f"name IN ({listed(names_)})", *(_begins("name", f"{n}/") for n in names_)]
            tests.append(f"(cwd = {cwd} AND {any_of(*found)})")
        folders = ", ".join(dict.fromkeys(cwd for cwd, _ in above))
        where = f"({here} OR cwd IN ({folders})) AND {any_of(*tests)}"
        joined = Rows("paths JOIN syscalls USING (event_id)", where, is_join=True)
        return Condition((*alone, joined), alone)


def _begins(column: str, text: str) -> str:
    return f"substr({column}, 1, {len(text)}) = {literal(text)}"
