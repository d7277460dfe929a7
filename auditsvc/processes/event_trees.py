"""The trees of the processes of many events, as a search finds them.

    trees = EventTrees(connection)
    for event, tree in trees.beside(events): ...

For each event the tree of its process: the ancestors, the process, and what it made. The lives of
the store are read once, from the beginning of the first process on, and not for each event.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Final

from auditsvc.processes.report import Tree, cut, node_of
from auditsvc.store.read import processes
from auditsvc.store.read.process_details import described

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from auditsvc.store.read.events import Event
    from auditsvc.store.read.processes import Begun, Family

LIMIT: Final = 100
"""Processes of a tree; how many more there are stands in it."""
_KEPT: Final = 256
"""Trees that are kept in mind: events of one process come together mostly."""
_SIZES: Final = (1, 20, 200)
"""Events that are looked at together: few first, so that something is shown at once."""


class EventTrees:
    """Gives them."""

    def __init__(self, connection: Connection, *, limit: int = LIMIT) -> None:
        """`connection` reads the store that the events are of."""
        self._connection = connection
        self._limit = limit
        self._kinship = processes.Kinship(connection)
        self._trees: OrderedDict[tuple[int, int, int], Tree] = OrderedDict()

    def beside(self, events: Iterable[Event]) -> Iterator[tuple[Event, Tree | None]]:
        """Give each event with its tree; None where no process of it is known."""
        rest, sizes = iter(events), iter(_SIZES)
        size = next(sizes)
        while part := list(islice(rest, size)):
            size = next(sizes, size)
            yield from zip(part, self._of(part), strict=True)

    def _of(self, events: Sequence[Event]) -> list[Tree | None]:
        roots = [processes.life_of_event(self._connection, each.id) for each in events]
        known = {root[:3] for root in roots if root is not None and root[:3] in self._trees}
        new = {root[:3]: root for root in roots if root is not None and root[:3] not in known}
        found = {key: self._trees[key] for key in known} | self._made(new.values())
        self._trees |= found
        for key in found:
            self._trees.move_to_end(key)
        while len(self._trees) > _KEPT:
            self._trees.popitem(last=False)
        return [None if root is None else found[root[:3]] for root in roots]

    def _made(self, roots: Iterable[Begun]) -> dict[tuple[int, int, int], Tree]:
        families: list[Family] = [self._kinship.family(root) for root in roots]
        above = [processes.ancestors(self._connection, each.begun) for each in families]
        wanted = {each for lives in above for each in lives}
        for each in families:
            wanted |= cut(each, 0, self._limit)
        lives = described(self._connection, wanted)
        return {
            family.begun[:3]: Tree(tuple(lives[each] for each in older), node_of(family, lives, 0))
            for family, older in zip(families, above, strict=True)
        }
