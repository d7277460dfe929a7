"""Bytes in, rows out: log lines -> records -> events -> rows. No I/O, no clock of its own.

The stages, one a module (a line's grammar is `auditsvc.record.line`, below the spool):

    types.py       record types by their part in an event
    fields.py      a record's body         -> fields, decoded by their kind
    records.py     records that need joining or taking apart (EXECVE, SOCKADDR)
    calls.py       a SYSCALL               -> the facts of its call, and the rest
    events.py      records                 -> events, by node, time and serial
    serials.py     serials                 -> how many were not seen
    dimensions.py  slices of records       -> dimension rows, each once
    rows.py        events                  -> rows of the star schema
    reference.py   all of it behind `interface.Decoder`
    native.py      the same by the native core (native/), where that was built

`interface.py` is the contract that every implementation keeps; `ids.py` is how
rows are named.
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
"""Implementations by name, the one to prefer last."""


def decoder_in_use(name: str | None = None) -> str:
    """Give the name of the decoder that `make_decoder` takes for this setting.

    ConfigError if that is the native one and it cannot be loaded.
    """
    chosen = list(DECODERS)[-1] if name in (None, "auto") else name
    if chosen == "native":
        native_core("native")
    if chosen not in DECODERS:
        raise UsageError(f"there is no decoder {name!r}", f"take one of {', '.join(DECODERS)}")
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

    `name` is a key of DECODERS, `auto` or None for the best there is; `secret` (at most
    64 bytes) is the store's; `host` names the machine where lines have no `node=`;
    `idle` is the time in seconds after which an unfinished event ends; at most
    `max_open` events are open at once; `trust_kernel_log`: lines as the kernel prints them
    are the kernel's (`Facts.claimed`).
    """
    return DECODERS[decoder_in_use(name)](
        secret, host, idle=idle, max_open=max_open, trust_kernel_log=trust_kernel_log
    )
