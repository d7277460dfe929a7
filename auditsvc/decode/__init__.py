"""Bytes in, rows out: log lines -> records -> events -> rows. No I/O, no clock of its own.

The grammar of lines and records is in `auditsvc.record`. The stages, one in each module of
`reference/`:

    types.py       type names              -> numbers, also of unknown types
    records.py     records that must be joined or parsed further (EXECVE, SOCKADDR)
    calls.py       a SYSCALL               -> the facts of its call, and its other fields
    events.py      records                 -> events, by node, time and serial
    serials.py     serials                 -> how many were not seen
    dimensions.py  slices of records       -> dimension rows, each once
    rows.py        events                  -> rows of the star schema
    decoder.py     all of it, as a `contract.Decoder`

`native.py` is the same with the native core (native/), if that was built. `contract.py` is
the contract of both implementations, `batch.py` what they give, `ids.py` the ids of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.decode.contract import IDLE, MAX_OPEN
from auditsvc.decode.native import NativeDecoder
from auditsvc.decode.reference.decoder import ReferenceDecoder
from auditsvc.errors import UsageError
from auditsvc.native import is_built, native_core

if TYPE_CHECKING:
    from auditsvc.decode.contract import Decoder

DECODERS: Final[dict[str, type[ReferenceDecoder | NativeDecoder]]] = {
    "reference": ReferenceDecoder,
    **({"native": NativeDecoder} if is_built() else {}),
}
"""Implementations by name, the preferred one last."""


def decoder_in_use(name: str | None = None) -> str:
    """Give the name of the decoder that `make_decoder` uses for this setting.

    ConfigError if it is the native one and cannot be loaded.
    """
    chosen = list(DECODERS)[-1] if name in (None, "auto") else name
    if chosen == "native":
        native_core("native")
    if chosen not in DECODERS:
        raise UsageError(f"there is no decoder {name!r}", f"use one of {', '.join(DECODERS)}")
    return chosen


def make_decoder(
    name: str | None,
    *,
    secret: bytes,
    host: str,
    idle: float = IDLE,
    max_open: int = MAX_OPEN,
    trust_kernel_log: bool = False,
) -> Decoder:
    """Make a decoder.

    `name` is a key of DECODERS, `auto` or None for the preferred one; `secret` (at most 64
    bytes) is the store's; `host` is the machine's name for lines without `node=`; `idle` is
    the time in seconds after which an incomplete event ends; at most `max_open` events are
    open at once; `trust_kernel_log`: lines in the format of the kernel's log are trusted
    (`Facts.claimed`).
    """
    return DECODERS[decoder_in_use(name)](
        secret, host, idle=idle, max_open=max_open, trust_kernel_log=trust_kernel_log
    )
