"""What a loader's process may tell `run`: each message is checked before anything is done with it.

    parse_report(content) -> State | Bound | Seen | Note | Opened | Sealed | Failed

The process parses what attackers wrote, so what it says is not trusted: every field has its type
and its bounds, and nothing else is taken. What a report can do at worst is to be a lie about the
store: whoever writes the store can make the store lie, too.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from auditsvc.service.frames import ProtocolError
from auditsvc.service.loading import FROM_NOW, LOST_ROWS

_WORD: Final = 1 << 63
Count = Annotated[int, Field(ge=0, lt=_WORD)]
Id = Annotated[int, Field(ge=0, lt=1 << 32)]
Text = Annotated[str, Field(max_length=2000)]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{0,128}$")]
_Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.:-]{0,64}$")]

MOST_IDS: Final = 5000
"""Of one report `seen`, of each kind."""
MOST_TEXTS: Final = 40
MOST_TEXT: Final = 2000


class _Report(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class State(_Report):
    """How loading goes; sent when it changes, and at least once a second."""

    kind: Literal["state"] = "state"
    open: bool
    segment: Annotated[int, Field(ge=0, lt=1 << 23)]
    position: Count
    store_error: Text
    hindrance: Text
    retention: Text
    archive: Text
    fleet: Text
    asks: bool
    quiet: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Seconds since the loader came round."""
    gaps: Annotated[int, Field(gt=-_WORD, lt=_WORD)]
    commits: Count
    tried: bool
    """Whether the store was opened or failed to open."""
    ended: bool = False
    """Whether this is the last state: loading has ended."""


class Facts(_Report):
    """What a head binds of the store (`auditsvc.evidence.store_facts.bound`)."""

    identity: _Digest
    schema_: Annotated[str, Field(alias="schema", max_length=64)]
    segment: Annotated[int, Field(ge=0, lt=1 << 23)]
    position: Count
    ledger: Annotated[
        dict[_Name, Annotated[int, Field(gt=-_WORD, lt=_WORD)]], Field(max_length=200)
    ]
    archive: tuple[Count, _Digest] | None = None
    pruned: tuple[Count, _Digest] | None = None
    spools: tuple[Count, _Digest] | None = None
    unknown: tuple[Count, _Digest] | None = None
    dropped: Annotated[str, Field(max_length=20_000, pattern=r"^[0-9/: -]*$")] | None = None
    kept: Literal[False] | None = None
    from_: tuple[Count, Count] | None = Field(default=None, alias="from")


class Bound(_Report):
    """What the next head binds of the store."""

    kind: Literal["bound"] = "bound"
    facts: Facts

    def as_bound(self) -> dict[str, Any]:
        """Give it as a head has it."""
        made = self.facts.model_dump(by_alias=True, exclude_none=True)
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in made.items()
        }


class Seen(_Report):
    """Ids that are new in a batch: of users and groups, and processes as (pid, ppid, ses, exe)."""

    kind: Literal["seen"] = "seen"
    users: Annotated[list[Id], Field(max_length=MOST_IDS)] = []
    groups: Annotated[list[Id], Field(max_length=MOST_IDS)] = []
    processes: Annotated[
        list[
            tuple[
                Annotated[int, Field(gt=0, lt=1 << 31)],
                Count | None,
                Count | None,
                Annotated[int, Field(ge=-_WORD, lt=_WORD)] | None,
            ]
        ],
        Field(max_length=MOST_IDS),
    ] = []


class Note(_Report):
    """What is to be noted of the store in the log."""

    kind: Literal["note"] = "note"
    what: Literal["lost-rows", "from-now"]


assert {LOST_ROWS, FROM_NOW} == {"lost-rows", "from-now"}


class Opened(_Report):
    """A store was opened; with a descriptor, its server says that `backend` is its process."""

    kind: Literal["opened"] = "opened"
    backend: Annotated[int, Field(ge=0, lt=1 << 31)] = 0


class Ask(_Report):
    """A file of the log that is followed is wanted; `name` is one in the log's folder."""

    kind: Literal["ask"] = "ask"
    what: Literal["open", "status", "names"]
    name: Annotated[str, Field(max_length=255)] = ""


class Sealed(_Report):
    """The rows of all segments up to `last` were sealed, or were not."""

    kind: Literal["sealed"] = "sealed"
    last: Annotated[int, Field(gt=0, lt=1 << 23)]
    digest: _Digest
    altered: Annotated[list[Text], Field(max_length=MOST_TEXTS)]
    problem: Text


class Failed(_Report):
    """The loader's thread ended by an error: the run ends by it, if it is one that is expected."""

    kind: Literal["failed"] = "failed"
    name: _Name
    what: Text
    hint: Text


Report = State | Bound | Seen | Note | Opened | Ask | Sealed | Failed
_ADAPTER: Final[TypeAdapter[Report]] = TypeAdapter(Annotated[Report, Field(discriminator="kind")])


def parse_report(content: bytes) -> Report:
    """Check one message; ProtocolError if it is not what it must be."""
    try:
        return _ADAPTER.validate_json(content)
    except (ValidationError, RecursionError) as error:
        raise ProtocolError("a message that cannot be read") from error
