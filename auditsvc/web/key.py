"""How an event is known on a page: its id, in the fleet with its host and store."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from auditsvc.arrow.reach import Reach
from auditsvc.errors import UsageError
from auditsvc.search.dialect import literal
from auditsvc.web.numbers import number_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self


class Key(NamedTuple):
    """One event; `host` and `store` are "" where the id says all."""

    id: int
    host: str = ""
    store: str = ""

    @classmethod
    def of(cls, columns: tuple[str, ...], row: Mapping[str, Any]) -> Self:
        """Give that of a row that has the columns of a key."""
        return cls(*(row[name] for name in columns))

    @classmethod
    def in_address(cls, number: Mapping[str, str], params: Mapping[str, str]) -> Self:
        """Read the address of an event's page; UsageError."""
        found = number_in(number, "id")
        assert found is not None
        return cls(found, params.get("host", ""), params.get("store", ""))

    @classmethod
    def in_text(cls, params: Mapping[str, str], name: str) -> Self | None:
        """Read one in an address, as `text` writes it; None if there is none, UsageError."""
        number, *rest = params.get(name, "").split("/", 2)
        if len(rest) == 1:
            raise UsageError(f"{name}={params[name]}: no event", "it is ID/STORE/HOST")
        found = number_in({name: number} if number or rest else {}, name)
        return None if found is None else cls(found, *rest[::-1])

    @property
    def values(self) -> tuple[int | str, ...]:
        """The values of its columns."""
        return tuple(self) if self.store else (self.id,)

    @property
    def reach(self) -> Reach:
        """What a question about it asks for at most."""
        return Reach.of_ids([self.id], [self.host or None])

    @property
    def text(self) -> str:
        """As one word of an address."""
        return f"{self.id}/{self.store}/{self.host}" if self.store else str(self.id)

    @property
    def condition(self) -> str:
        """The condition on the rows of a view that they are of this event."""
        found = f"event_id = {self.id:d}"
        if self.store:
            found += f" AND host = {literal(self.host)} AND store = {literal(self.store)}"
        return found

    def address(self, below: str = "") -> str:
        """Give the address of its page, or of a part of that."""
        more = f"?{urlencode({'host': self.host, 'store': self.store})}" if self.store else ""
        return f"/event/{self.id}{below}{more}"
