"""What is kept of deleted segments: sums of the digests of their rows, by table and day.

    sealed-NNNNNNNNNNNN    in the folder `evidence`: the segments up to this one

The last head has the digest of the file (`Head.sealed`). The rows were compared with their lines
when they were sealed, so they are the ones that these lines gave; what differed then is told.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditsvc.evidence.folder import Folder
from auditsvc.evidence.row_digest import BITS, Sum
from auditsvc.host.files import read_file, replace_file
from auditsvc.value_text import parse_json

if TYPE_CHECKING:
    from pathlib import Path

    from auditsvc.evidence.row_digest import Sums

_NAME: Final = re.compile(r"sealed-([0-9]{12})")
_VERSION: Final = 1
NO_DAY: Final = -1
MOST_ALTERED: Final = 100
"""Differences that are kept, at most."""


@dataclass(slots=True)
class Seal:
    """Digests of the rows of all segments up to one."""

    through: int = 0
    """The last segment whose rows are in it."""
    pending: bytes = b""
    """What was open behind that segment (`Decoder.pending`)."""
    open_day: int = NO_DAY
    """Days up to this one may have rows of lines that were never signed; NO_DAY: none has."""
    sums: Sums = field(default_factory=dict)
    altered: list[str] = field(default_factory=list)
    """What was not as the lines said when it was sealed."""
    hosts: list[str] | None = None
    """Hosts of the rows; None if an older program has sealed some."""
    parts: list[int] | None = None
    """Events whose rows are in no sum, as another log gave a part of them; None as `hosts`."""

    def days(self) -> frozenset[int]:
        """Give the days whose rows it proves."""
        return frozenset(day for _, day in self.sums if day > self.open_day)

    def text(self) -> str:
        """Give it as JSON."""
        values = {
            "version": _VERSION,
            "through": self.through,
            "pending": self.pending.hex(),
            "open_day": self.open_day,
            "sums": [
                [table, day, one.rows, f"{one.digest:0{BITS // 4}x}"]
                for (table, day), one in sorted(self.sums.items())
            ],
            "altered": self.altered,
            "hosts": self.hosts,
            "parts": self.parts,
        }
        return json.dumps(values) + "\n"


def digest_of(text: str) -> str:
    """Give the digest of a seal's text, as a head has it."""
    return hashlib.sha256(text.encode()).hexdigest()


def parse_seal(text: str) -> Seal:
    """Read what `Seal.text` gave; ValueError, KeyError or TypeError if it is another text."""
    values = parse_json(text)
    sums = {
        (str(table), int(day)): Sum(int(rows), int(digest, 16))
        for table, day, rows, digest in values["sums"]
    }
    return Seal(
        int(values["through"]),
        bytes.fromhex(values["pending"]),
        int(values["open_day"]),
        sums,
        [str(each) for each in values["altered"]],
        None if values.get("hosts") is None else [str(each) for each in values["hosts"]],
        None if values.get("parts") is None else [int(each) for each in values["parts"]],
    )


def read_seal(spool: Path, sealed: str) -> Seal | None:
    """Read the seal with this digest; None if it is not there as it was signed. OSError."""
    folder = Folder(spool).path
    for path in sorted(folder.glob("sealed-*"), reverse=True):
        data = read_file(path)
        if hashlib.sha256(data).hexdigest() == sealed:
            return parse_seal(data.decode())
    return None


def write_seal(spool: Path, seal: Seal) -> str:
    """Write a seal beside those before; gives its digest. OSError."""
    text = seal.text()
    replace_file(Folder(spool).path / f"sealed-{seal.through:012d}", text, sync=True)
    return digest_of(text)


def forget_seals(spool: Path, before: int) -> None:
    """Delete seals of fewer segments than up to this one: the last head has a later one."""
    for path in Folder(spool).path.iterdir():
        if (found := _NAME.fullmatch(path.name)) and int(found[1]) < before:
            path.unlink(missing_ok=True)
