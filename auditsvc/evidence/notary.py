"""Hashes the spool's lines as they are written, and signs what it has hashed.

    notary = Notary(writer, host=..., every=30)
    notary.begin()                    # before anything is appended
    writer.appended = notary.receive  # called with each piece of lines, under the sink's lock
    notary.start()
    ...
    notary.finish()                   # after the spool is closed
    notary.bind_store()               # after all that can be was loaded

Invariants:

* Lines are hashed from the memory they were written from, by this thread, without the
  interpreter lock: who appends only puts them in a queue. So bytes that are altered on the disk
  a moment later are found. If the queue is full, lines are read from the segment instead.
* A head covers only bytes that are synced (unless spool.fsync is "none"), and complete lines:
  whatever crash follows, the segment holds at least them. What a segment has beyond its last
  head is read from the disk at the next start, and the next head says from where on that ends.
* Nothing here ends or delays collecting: an error is kept in `problem`, and tried again.
* What is found altered is told once (`told`), and nothing is appended to an altered segment:
  the chain goes on with the next one.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from auditsvc.errors import AuditsvcError, SpoolError
from auditsvc.evidence.folder import Folder, evidence_error
from auditsvc.evidence.head import Head, signature_of
from auditsvc.evidence.key_file import KeyFile
from auditsvc.evidence.keys import NAME, Keys, Signed, credential
from auditsvc.evidence.line_queue import LineQueue, Piece
from auditsvc.evidence.open_segment import OpenSegment
from auditsvc.spool.identity import identity
from auditsvc.spool.segments import Place, segment_path, segments, sizes

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.native import Choice
    from auditsvc.spool.writer import SpoolWriter

_LOOK: Final = 0.5
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def _ignore(_: str) -> None:
    """Do nothing: the default callback."""


class Notary(threading.Thread):
    """Hashes and signs one spool, until `finish`."""

    def __init__(
        self,
        directory: Path,
        *,
        host: str,
        every: float,
        synced: bool = True,
        choice: Choice = "auto",
        key_file: KeyFile | None = None,
    ) -> None:
        """`every`: seconds between two heads while lines come; `synced`: whether to sync.

        `key_file`: of the private keys; absent: one beside the heads.
        """
        super().__init__(name="notary", daemon=True)
        self.problem = ""
        """Why nothing can be signed, "" if it can."""
        self.altered = ""
        """What was found altered, "" if nothing was."""
        self.told: Callable[[str], None] = _ignore
        """Called, by any thread, with what was found altered."""
        self.signed: Callable[[str], None] = _ignore
        """Called, by this thread, with each new head as a line."""
        self.counts: Callable[[], dict[str, int]] = dict
        self.store: Callable[[], dict[str, Any]] = dict
        """What is bound into each head besides."""
        self.moved = ""
        """The file beside the heads that had the keys, and is gone; "" if there was none."""
        self._directory = directory
        self._folder = Folder(directory)
        self._key_file = key_file or KeyFile(self._folder.path / NAME)
        self._host = host
        self._every = every
        self._synced = synced
        self._choice: Choice = choice
        self._spool = ""
        self._boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
        self._keys: Keys | None = None
        """None until the spool was compared with its last head."""
        self._last: Head | None = None
        self._begins = Place()
        self._open: OpenSegment | None = None
        self._broken = ""
        self._kept_from = self._gone_before = 0
        self._sealed = self._ended = ""
        self._signed_at = 0.0
        self._queue = LineQueue()
        self._signing = threading.RLock()  # of all else
        self._wake = threading.Event()
        self._ending = False

    # --- beginning ---------------------------------------------------------------------

    def last_segment(self) -> int:
        """Give the number below which the spool must not begin a segment; before the writer."""
        with suppress(AuditsvcError, OSError):
            last = self._folder.last()
            return 0 if last is None else last.segment
        return 0

    def begin(self, writer: SpoolWriter) -> None:
        """Compare the spool with its last head; `writer` has appended nothing yet.

        AuditsvcError only if the writer's next segment cannot be made.
        """
        self._spool = identity(self._directory)
        self._begins = writer.place
        try:
            broken = self._resume()
        except AuditsvcError as error:
            self.problem = str(error)
            return
        except OSError as error:
            self.problem = str(evidence_error(self._folder.path, error))
            return
        if broken and self._last is not None and writer.place.segment <= self._last.segment:
            writer.rotate()

    def _resume(self) -> str:
        """Go on from the last head; gives what is wrong with the spool, "" if nothing is.

        After an error it is done again, from its beginning (`_keys` is None until then): what was
        appended meanwhile is in the queue.
        """
        keys = self._recall()
        if broken := self._compare():
            self._tell(broken)
            self._broken = broken
            self._open = None
        self._queue_old()
        self._keys = keys
        return broken

    def _recall(self) -> Keys:
        """Read the keys and the last head."""
        self._folder.make()
        keys = self._load_keys()
        self._last = self._folder.last()
        if self._last is not None:
            self._kept_from = max(self._last.kept_from, self._gone_before)
            self._sealed, self._ended = self._last.sealed, self._last.ended
            if not self._last.is_signed() or self._last.spool != self._spool:
                self._tell(f"head {self._last.n} is not signed by its key")
                self._broken = "last head"
        if wrong := keys.follow(self._last):
            self._broken = self._broken or wrong
            self._tell(wrong)
        return keys

    def _load_keys(self) -> Keys:
        """Read the keys; those of a file beside the heads are taken over, and the file goes."""
        if not self._key_file.is_apart:
            return Keys.load(self._key_file, credential())
        older = self._folder.path / NAME
        keys = Keys.load(self._key_file, credential(), older)
        if os.path.lexists(older):
            older.unlink()
            self.moved = str(older)
        return keys

    def _compare(self) -> str:
        """Hash what the last head covers again; gives what is wrong, "" if nothing is."""
        last = self._last
        if last is None or last.final or last.segment < self._gone_before:
            return ""
        where = f"segment {last.segment}"
        path = segment_path(self._directory, last.segment)
        if not path.exists():
            return f"{where} is missing"
        size = path.stat().st_size
        if size < last.end:
            return f"{where} has {size} bytes, and {last.end} were signed"
        opened = self._begin_segment(last.segment, last.start)
        try:
            opened.read(last.end)
        except ValueError:
            return f"{where} was altered before byte {last.end}"
        if opened.chain.value().hex() != last.chain:
            return f"{where} was altered before byte {last.end}"
        opened.first, opened.last = last.first, last.last
        opened.unseen = last.unseen
        opened.is_unsigned = False
        self._open = opened
        opened.keep_tags(self._folder.tags_path(opened.segment), fresh=True)
        return ""

    def _queue_old(self) -> None:
        """Have what the spool held at the start, and no head covers, read from the disk."""
        opened, place = self._open, self._begins
        known = opened.segment if opened else self._last.segment if self._last else 0
        old = []
        for segment, size in sizes(self._directory).items():
            start = 0
            if opened and segment == opened.segment:
                start = opened.end
            elif segment <= known:
                continue
            if segment > place.segment:
                break
            end = place.position if segment == place.segment else size
            if end > start:
                old.append(Piece(segment, start, end - start, None))
        self._queue.put_before(old)

    # --- what is appended ----------------------------------------------------------------

    def receive(self, segment: int, position: int, lines: bytes) -> None:
        """Take complete lines that were written at a position; never waits for the disk."""
        if self._queue.receive(segment, position, lines):
            self._wake.set()

    def run(self) -> None:
        """Hash and sign until `finish`."""
        while not self._ending:
            self._wake.wait(_LOOK)
            self._wake.clear()
            try:
                self.step()
            except Exception as error:  # noqa: BLE001 - a thread that ended would sign no more, unseen
                self.problem = f"evidence: {type(error).__name__}: {error}"

    def step(self) -> None:
        """Hash what waits, and sign it when that is due."""
        try:
            with self._signing:
                self._take_all()
                if self._is_due():
                    self._sign(final=False)
            if self._keys is not None:
                self.problem = ""
        except AuditsvcError as error:
            self.problem = str(error)
        except OSError as error:
            self.problem = str(evidence_error(self._folder.path, error))

    def _is_due(self) -> bool:
        opened = self._open
        if opened is None or self._keys is None:
            return False
        if not opened.is_unsigned and not self._has_pruned():
            return False
        return not self._signed_at or time.monotonic() - self._signed_at >= self._every

    def _has_pruned(self) -> bool:
        """Whether retention deleted days that no head names: other hosts wait for that."""
        last = self._last
        if last is None:
            return False
        now, before = self._bound(last).get("dropped"), last.store.get("dropped")
        return bool(now or before) and now != before

    def sign_now(self, *, kept_from: int, sealed: str = "") -> bool:
        """Sign what was appended up to now; gives whether that was possible.

        `kept_from`: segments before it are going to be deleted; first the head must say so.
        `sealed`: digest of the seal that has their rows.
        """
        before = self._kept_from, self._sealed
        try:
            with self._signing:
                if self._keys is None:
                    return False
                self._take_all()
                if self._open is None:
                    return False
                self._kept_from = max(self._kept_from, kept_from)
                self._sealed = sealed or self._sealed
                self._sign(final=False)
        except AuditsvcError as error:
            self._kept_from, self._sealed = before
            self.problem = str(error)
            return False
        except OSError as error:
            self._kept_from, self._sealed = before
            self.problem = str(evidence_error(self._folder.path, error))
            return False
        return True

    def sealed_before(self) -> int:
        """Give the segment before which all segments have their last head; 0 if none has."""
        return self._open.segment if self._open is not None else 0

    def gone_unsigned(self, before: int) -> None:
        """Note that segments were deleted that no head announced; the next head says so."""
        with self._signing:
            self._gone_before = max(self._gone_before, before)
            self._kept_from = max(self._kept_from, before)

    def dropped(self) -> None:
        """Forget the heads of segments that are deleted; OSError, EvidenceError."""
        with self._signing:
            there = set(segments(self._directory))
            for segment in self._folder.segments():
                if segment < self._kept_from and segment not in there:
                    self._folder.drop(segment)

    def finish(self) -> None:
        """Hash the rest and sign it as the end of a run; the spool is closed."""
        self._ending = True
        self._wake.set()
        if self.is_alive():
            self.join()
        self.told = _ignore  # nothing can be appended any more

        def sign() -> None:
            self._take_all()
            if self._open is not None:
                self._sign(final=False, clean=True)

        self._at_end(sign)

    def bind_store(self) -> None:
        """Sign once more what the store has when all is loaded; after `finish`.

        Else who puts an earlier copy of the store in its place would have one that is no older
        than the last head says.
        """

        def look() -> None:
            last = self._last
            if self._open is not None and last is not None and self._bound(last) != last.store:
                self._sign(final=False, clean=True)

        self._at_end(look)

    def _at_end(self, step: Callable[[], None]) -> None:
        try:
            with self._signing:
                if self._keys is not None:
                    step()
        except AuditsvcError as error:
            self.problem = str(error)
        except OSError as error:
            self.problem = str(evidence_error(self._folder.path, error))

    # --- hashing -------------------------------------------------------------------------

    def _take_all(self) -> None:
        if self._keys is None:
            self._resume()
        while (piece := self._queue.first()) is not None:
            self._take(piece)
            self._queue.done()

    def _take(self, piece: Piece) -> None:
        opened = self._open
        if piece.segment < self._gone_before:
            return
        if opened is None or piece.segment != opened.segment:
            opened = self._next_segment(piece.segment)
        if piece.start + piece.length <= opened.end:
            return  # it failed after it was hashed
        if piece.data is None or piece.start > opened.end:
            before = opened.end
            try:
                opened.read(piece.start + (piece.length if piece.data is None else 0))
            except ValueError:
                self._tell(f"segment {opened.segment} was cut or altered behind {opened.end}")
                return
            finally:
                opened.unseen += opened.end - before
        if piece.data is None:
            return
        opened.add(piece.data)

    def _next_segment(self, segment: int) -> OpenSegment:
        """End the open segment, and begin another."""
        if self._open is not None:
            start = self._open.chain.value().hex()
            if not (self._last and self._last.final and self._last.segment == self._open.segment):
                self._sign(final=True)
        else:
            start = self._last.chain if self._last is not None else ""
        self._open = self._begin_segment(segment, start)
        return self._open

    def _begin_segment(self, segment: int, start: str) -> OpenSegment:
        return OpenSegment.begin(self._directory, self._spool, segment, start, self._choice)

    # --- signing -------------------------------------------------------------------------

    def _sign(self, *, final: bool, clean: bool = False) -> None:
        opened, keys, last = self._open, self._keys, self._last
        assert opened is not None
        assert keys is not None
        if last is not None and keys.signed.n < last.n and not self._broken:
            keys.advance(last)  # it could not be forgotten when it had signed
        self._sync(opened)
        opened.keep_tags(self._folder.tags_path(opened.segment))
        if last is not None and last.segment != opened.segment:
            self._ended = last.digest()
        before = keys.signed
        if last is not None and last.n > before.n:
            before = Signed(last.n, last.digest())
        head = Head(
            n=before.n + 1,
            spool=self._spool,
            host=self._host,
            segment=opened.segment,
            end=opened.end,
            lines=opened.chain.lines,
            start=opened.start,
            chain=opened.chain.value().hex(),
            final=final,
            clean=clean,
            unseen=opened.unseen,
            broken=self._broken,
            synced=self._synced,
            time=round(time.time(), 3),
            boot=self._boot,
            first=opened.first,
            last=opened.last,
            kept_from=self._kept_from,
            counts=self.counts(),
            sealed=self._sealed,
            store=self._bound(last),
            ended=self._ended,
            previous=before.digest,
            key=keys.current_public,
            next=keys.next_public,
        )
        head = replace(head, signature=signature_of(head, keys.current))
        self._folder.append(head)
        self._last = head
        self._broken = ""
        opened.is_unsigned = False
        self._signed_at = time.monotonic()
        keys.advance(head)
        self.signed(head.text())

    def _bound(self, last: Head | None) -> dict[str, Any]:
        """Give what is bound of the store; as long as it was not read, what was bound before."""
        before = {} if last is None else last.store
        now = self.store() or before
        is_same = now.get("identity") == before.get("identity")
        if is_same and "from" in before and "from" not in now:
            now = now | {"from": before["from"]}
        return now

    def _sync(self, opened: OpenSegment) -> None:
        """Sync the segment, and see that it still has all that was appended."""
        try:
            size = opened.sync(synced=self._synced)
        except FileNotFoundError:
            if opened.segment >= self._gone_before:
                self._tell(f"segment {opened.segment} is missing")
            return
        if size < opened.end:
            self._tell(f"segment {opened.segment} has {size} bytes, and {opened.end} were written")

    def _tell(self, what: str) -> None:
        if what != self.altered:
            self.altered = what
            with suppress(SpoolError):
                self.told(what)
