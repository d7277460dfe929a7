"""Which spool this is: a random number that stands in its folder.

The path is the same on every host, and several hosts may load into one store. A checkpoint
belongs to one spool, so its name in the store has this number too. It goes where the spool goes.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final

from auditsvc.errors import SpoolError
from auditsvc.host.files import read_file, replace_file
from auditsvc.spool.segments import spool_error

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = "identity"
_FORM: Final = re.compile(rb"([0-9a-f]{16})\n")
_MOST: Final = 100


def identity(directory: Path) -> str:
    """Give the spool's identity: 16 digits; it is made if there is none.

    For the one process that writes the spool. SpoolError if it cannot be read or made.
    """
    path = directory / _NAME
    try:
        try:
            text = read_file(path, _MOST)
        except FileNotFoundError:
            text = f"{secrets.token_hex(8)}\n".encode()
            replace_file(path, text.decode(), sync=True)
    except OSError as error:
        raise spool_error(path, error) from error
    if not (found := _FORM.fullmatch(text)):
        raise SpoolError(
            f"{path}, which says which spool this is, is damaged",
            "delete it: the spool is then loaded again, and what is stored already stays once",
        )
    return found[1].decode()


def source_name(directory: Path) -> str:
    """Give the name of the spool as a source of a store."""
    return f"{directory}#{identity(directory)}"
