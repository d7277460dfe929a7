"""Register as the audit daemon in place of one that ended, without losing a record.

    take_over(control, old, new, drain)   # old: sockets that it left; new: a socket of ours

From kernel/audit.c and net/netlink/af_netlink.c:

* While the old socket is open the kernel sends to it, and refuses another daemon (EEXIST).
* If a record is sent after the old socket refuses and before the new one is registered, the
  kernel drops its daemon (auditd_reset), and the record too unless booted with audit=1.
* So registering must happen while kauditd sends nothing. If the old socket is full, kauditd
  waits in netlink_attachskb with one record in its hand, for 100 ms (audit_net_init). After
  that it asks for the socket again, is refused, keeps the record (kauditd_retry_skb), and
  finds the new daemon, to which it sends what it kept.

So: make the old socket full, wait until kauditd waits, refuse, register. It takes about 1 ms.
What is in the old socket then comes before all that the new one receives.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from auditsvc.errors import KernelError
from auditsvc.host.processes import kernel_thread, sleeps
from auditsvc.kernel.messages import OFF

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auditsvc.kernel.control import Control
    from auditsvc.kernel.netlink import RecordSocket

_KAUDITD: Final = "kauditd"
_BLOCK_SECONDS: Final = 0.05
"""Half of what kauditd waits: afterwards it is not safe any more."""
_TRIES: Final = 10
_RECORDS: Final = 6
"""Records of ours that fill the old socket, kauditd's hand and the queue behind it."""


def take_over(
    control: Control,
    old: Sequence[RecordSocket],
    new: RecordSocket,
    drain: Callable[[], None],
) -> bool:
    """Register `new`; gives whether it is certain that no record fell between the sockets.

    `drain` reads from the old sockets, so that they are not full. IncumbentError if
    another daemon has a socket of its own; KernelError.
    """
    status = control.status()
    is_certain = not status.pid  # nobody was registered: nothing is sent
    if status.pid:
        thread = kernel_thread(_KAUDITD)
        for _ in range(_TRIES):
            drain()
            if is_certain := _blocked(control, old, thread):
                break
            for each in old:
                each.unblock(new.receive_buffer)
    for each in old:
        each.refuse()
    new.register()
    return is_certain


def _blocked(control: Control, old: Sequence[RecordSocket], thread: int | None) -> bool:
    """Make kauditd wait for an old socket; False if it does not within the time."""
    ends = time.monotonic() + _BLOCK_SECONDS
    for each in old:
        each.block()
    made = 0
    while time.monotonic() < ends:
        status = control.status()
        if status.enabled == OFF:
            return True  # no system call is logged
        # It sleeps although something is queued: it does so only in netlink_attachskb.
        if status.backlog and sleeps(thread) and control.status().backlog:
            return time.monotonic() < ends
        if not status.backlog and made < _RECORDS:
            made += 1
            _make_record(control, status.rate_limit)
    return False


def _make_record(control: Control, rate_limit: int) -> None:
    """Make the kernel log one record, by setting a value that is set already."""
    try:
        control.set(rate_limit=rate_limit)
    except KernelError:  # audit is locked: that is logged too
        return
