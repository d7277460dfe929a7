"""The store that a spool was loaded into, remembered beside the spool.

    known = KnownStore(settings.spool_directory, settings.store)
    with known.open() as store:
        known.compare(store.source("spool", name))    # a line that tells what is missing, or ""
        known.reached(segment, position)              # after a commit

What must hold:

* Where a store was known to be, none is made anew: one that is gone, empty or another is
  refused, until an administrator deletes the file that remembers it.
* The place that is remembered was committed, so a store whose own checkpoint is before it has
  lost rows that it had: they were taken out, an older copy was put back, or its write-ahead
  log was deleted. The rows come again as far as the spool still has them.

`store.json` in the spool's folder holds, for each store by the name that messages give it, a
hash of its secret and the place. It is opened as `auditsvc.host.files` says. What cannot be read
without privilege is not known.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from auditsvc.errors import AbsentError, ForeignError, StoreError
from auditsvc.host.files import UnsafeError, read_file, replace_file
from auditsvc.store import open_store
from auditsvc.store.databases import place_of

if TYPE_CHECKING:
    from pathlib import Path

    from auditsvc.store import Source, Store

_NAME: Final = "store.json"
_PERSON: Final = b"auditsvc store"


@dataclass(frozen=True, slots=True)
class _Known:
    identity: str
    segment: int = 0
    position: int = 0


class KnownStore:
    """One store, as the spool in `folder` knows it."""

    def __init__(self, folder: Path, url: str) -> None:
        """Nothing is opened yet; ConfigError for a URL that is none."""
        self._path = folder / _NAME
        self._url = url
        self.place = place_of(url)
        """How messages call the store."""

    def open(self, *, remember: bool) -> Store:
        """Open the store, or make it where none was known to be.

        `remember` which one it is: for who fills it from the spool. StoreError as of
        `open_store`, and if it is not the one that was known.
        """
        known = self._recall()
        try:
            store = open_store(self._url, create=known is None)
        except AbsentError as error:
            raise AbsentError(
                f"{error.what}, and it held rows of this spool", self._hint
            ) from error
        try:
            self._see_it_is(store, known, remember=remember)
        except BaseException:
            store.close()
            raise
        return store

    def _see_it_is(self, store: Store, known: _Known | None, *, remember: bool) -> None:
        identity = identity_of(store)
        if known is not None and known.identity != identity:
            raise ForeignError(
                f"{self.place} is another store than the one that this spool was loaded into",
                self._hint,
            )
        if known is None and remember:
            try:
                self._remember(_Known(identity))
            except OSError as error:
                raise StoreError(f"{self._path} cannot be written: {error.strerror}") from error

    @property
    def is_known(self) -> bool:
        """Whether there was one."""
        return self._recall() is not None

    def compare(self, source: Source) -> str:
        """Tell what a store has lost since `reached`, by the spool's checkpoint in it."""
        known = self._recall()
        segment = int(source.segment) if source.segment.isdecimal() else 0
        if known is None or (segment, source.position) >= (known.segment, known.position):
            return ""
        return (
            f"the store {self.place} has lost rows: it ends at byte {source.position} of segment"
            f" {segment}, and byte {known.position} of segment {known.segment} was in it"
        )

    def last_place(self) -> tuple[int, int]:
        """Segment and position up to which the spool was committed, as remembered."""
        known = self._recall()
        return (0, 0) if known is None else (known.segment, known.position)

    def reached(self, segment: int, position: int) -> None:
        """Remember up to where the spool is committed; OSError if that cannot be written."""
        known = self._recall()
        if known is not None and (known.segment, known.position) != (segment, position):
            self._remember(_Known(known.identity, segment, position))

    @property
    def _hint(self) -> str:
        return f"put it back; or, to begin a new one, delete {self._path}"

    def _recall(self) -> _Known | None:
        values = self._all().get(self.place)
        return None if values is None else _Known(**values)

    def _all(self) -> dict[str, dict[str, Any]]:
        try:
            values = json.loads(read_file(self._path))
            for known in values.values():
                _check(_Known(**known))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except UnsafeError as error:
            raise ForeignError(f"{error.filename}: {error.strerror}") from error
        except PermissionError:
            return {}
        except OSError as error:
            raise StoreError(f"{self._path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ForeignError(
                f"{self._path}, which says what store this spool was loaded into, is damaged",
                "see that the store is whole, then delete the file",
            ) from error
        return dict(values)

    def _remember(self, known: _Known) -> None:
        replace_file(self._path, json.dumps(self._all() | {self.place: asdict(known)}), sync=True)


def identity_of(store: Store) -> str:
    """Give what tells a store from others, and does not give its secret away."""
    return hashlib.blake2b(_PERSON, key=store.secret, digest_size=16).hexdigest()


def _check(known: _Known) -> None:
    if not (
        isinstance(known.identity, str)
        and isinstance(known.segment, int)
        and isinstance(known.position, int)
    ):
        raise TypeError
