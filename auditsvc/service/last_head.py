"""Signs the end of a run: its lines at once, and then, when the loader has ended, the store.

    sign_lines(parts)              # the spool is closed
    ...                            # the rest is loaded, which takes time and may be killed
    sign_last(parts, seconds)

Without the second head an earlier copy of the store, by up to `evidence.every`, could stand in its
place while no service runs: the first one was signed while the last rows were on their way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from auditsvc.service.wiring import Parts

DELIVER_SECONDS: Final = 3.0
"""How long the end of a run waits for its last head to be sent."""


def sign_lines(parts: Parts) -> None:
    """Sign what the closed spool has; that head is sent while the rest is loaded."""
    if parts.notary is not None:
        parts.notary.finish()
    if parts.courier is not None:
        parts.courier.hurry()


def sign_last(parts: Parts, patience: float) -> None:
    """Sign up to where the store has it, then deliver that head within some seconds."""
    if parts.notary is not None:
        parts.notary.bind_store()
    if parts.courier is not None:
        parts.courier.finish(patience)
