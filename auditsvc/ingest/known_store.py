"""Which store a spool was loaded into: a small file in the spool's folder.

    known = KnownStore(settings.spool_directory, settings.store)
    with known.open() as store:
        known.compare(store.source("spool", name))    # a message about lost rows, or ""
        known.reached(segment, position)              # after a commit

Invariants:

* A known store is never replaced by a new one: if it is missing, empty or a different store,
  it is refused until an administrator deletes the file.
* The place in the file was committed. So a store whose own checkpoint is before it has lost
  rows: they were deleted, an older copy was restored, or its write-ahead log was deleted. The
  rows are loaded again if the spool still has them.

`store.json` in the spool's folder has, for each store (by its name in messages), a hash of its
secret and the place. It is opened through `auditsvc.host.files`. A file that may not be read
counts as missing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from auditsvc.errors import AbsentError, ForeignError, StoreError, of_system
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
    """One store, as recorded in the spool's `folder`."""

    def __init__(self, folder: Path, url: str) -> None:
        """Open nothing yet; ConfigError if the URL is not valid."""
        self._path = folder / _NAME
        self._url = url
        self.place = place_of(url)
        """The store's name in messages."""

    def open(self, *, remember: bool, create: bool = True) -> Store:
        """Open the store, or make it if none is known and `create` lets it.

        `remember`: record which store it is; for callers that load the spool into it.
        StoreError as by `open_store`, and if it is not the known store.
        """
        known = self._recall()
        try:
            store = open_store(self._url, create=create and known is None)
        except AbsentError as error:
            if known is None:
                raise
            raise AbsentError(
                f"{error.what}, but rows of this spool were stored in it", self._hint
            ) from error
        try:
            self._check_identity(store, known, remember=remember)
        except BaseException:
            store.close()
            raise
        return store

    def _check_identity(self, store: Store, known: _Known | None, *, remember: bool) -> None:
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
        """Whether a store is known."""
        return self._recall() is not None

    def compare(self, source: Source) -> str:
        """Give a message if the store has lost rows since `reached`, by the spool's checkpoint."""
        known = self._recall()
        segment = int(source.segment) if source.segment.isdecimal() else 0
        if known is None or (segment, source.position) >= (known.segment, known.position):
            return ""
        return (
            f"the store {self.place} has lost rows: it ends at byte {source.position} of segment"
            f" {segment}, and byte {known.position} of segment {known.segment} was in it"
        )

    def last_place(self) -> tuple[int, int]:
        """Give the recorded segment and position up to which the spool was committed."""
        known = self._recall()
        return (0, 0) if known is None else (known.segment, known.position)

    def reached(self, segment: int, position: int) -> None:
        """Record up to which place the spool is committed; OSError if that cannot be written."""
        known = self._recall()
        if known is not None and (known.segment, known.position) != (segment, position):
            self._remember(_Known(known.identity, segment, position))

    @property
    def _hint(self) -> str:
        return f"restore it; or, to begin a new one, delete {self._path}"

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
            raise ForeignError(of_system(error)) from error
        except PermissionError:
            return {}
        except OSError as error:
            raise StoreError(f"{self._path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ForeignError(
                f"{self._path}, which says which store this spool was loaded into, is damaged",
                "check that the store is complete, then delete the file",
            ) from error
        return dict(values)

    def _remember(self, known: _Known) -> None:
        replace_file(self._path, json.dumps(self._all() | {self.place: asdict(known)}), sync=True)


def identity_of(store: Store) -> str:
    """Give a hash that identifies a store without disclosing its secret."""
    return hashlib.blake2b(_PERSON, key=store.secret, digest_size=16).hexdigest()


def _check(known: _Known) -> None:
    if not (
        isinstance(known.identity, str)
        and isinstance(known.segment, int)
        and isinstance(known.position, int)
    ):
        raise TypeError
