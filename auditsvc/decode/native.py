"""The decoder of the native core, as a `auditsvc.decode.contract.Decoder`.

It gives the same rows as the reference in the same order; the interpreter lock is
released while it decodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.decode.contract import IDLE, MAX_OPEN
from auditsvc.decode.native_batch import batch_of
from auditsvc.errors import StoreError
from auditsvc.native import native_core
from auditsvc.tables.names import record_types

if TYPE_CHECKING:
    from auditsvc.decode.batch import Batch


class NativeDecoder:
    """Implements `auditsvc.decode.contract.Decoder`."""

    name = "native"

    def __init__(
        self,
        secret: bytes,
        host: str,
        *,
        idle: float = IDLE,
        max_open: int = MAX_OPEN,
        trust_kernel_log: bool = False,
    ) -> None:
        core = native_core("native")
        assert core is not None
        self._core = core.Decoder(
            secret,
            host,
            idle=idle,
            max_open=max_open,
            record_types=list(record_types().items()),
            trusts_kernel_log=trust_kernel_log,
        )
        self.feed = self._core.feed
        self.expire = self._core.expire
        self.finish = self._core.finish
        self.pending = self._core.pending
        self.pin = self._core.pin
        self.forget = self._core.forget

    @property
    def open_records(self) -> int:
        """Records that belong to events which have not ended."""
        return int(self._core.open_records)

    @property
    def held(self) -> int:
        """Approximate size in bytes of the rows that `take` would give."""
        return int(self._core.held)

    def take(self) -> Batch:
        """Give the rows made since the last call."""
        return batch_of(*self._core.take())

    def restore(self, pending: bytes, now: float) -> None:
        """Restore `pending()` of an earlier decoder; StoreError if it is not valid."""
        try:
            self._core.restore(pending, now)
        except ValueError as error:
            raise StoreError(str(error)) from error
