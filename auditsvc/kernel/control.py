"""Control of the kernel's audit: status, rules, features, and giving up the daemon's place.

Becoming the daemon is RecordSocket.register, because its socket is what matters then.

From kernel/audit.c (audit_receive_msg) and kernel/auditfilter.c. Every method
raises KernelError with the kernel's errno and one line that says what to do;
LockedError where `-e 2` has locked audit until the next boot.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Self

from auditsvc.errors import KernelError, LockedError
from auditsvc.host.system_module import audit_module
from auditsvc.kernel import messages
from auditsvc.kernel.messages import Features, SignalInfo, Status
from auditsvc.kernel.netlink import ControlSocket
from auditsvc.rule import (
    Add,
    Command,
    Delete,
    DeleteAll,
    MakeEquivalent,
    OnError,
    Reset,
    Rule,
    Set,
    Trim,
    printing,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Control:
    """A connection for requests; apart from the socket that records come from."""

    def __init__(self) -> None:
        # What we control here is later told by name: better refused now than raw then.
        audit_module()
        self._socket = ControlSocket()
        self.listener: Callable[[int, bytes], None] | None = None
        """Told of every change that the kernel has taken: the request's type and payload."""

    def close(self) -> None:
        """Close the connection; changes nothing in the kernel."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- status ---------------------------------------------------------------

    def status(self) -> Status:
        """Ask for the status."""
        return Status.from_bytes(self._socket.get(messages.GET, "asking for audit's status"))

    def set(
        self,
        *,
        enabled: int | None = None,
        failure: int | None = None,
        rate_limit: int | None = None,
        backlog_limit: int | None = None,
        backlog_wait_time: int | None = None,
    ) -> None:
        """Change what is given and nothing else.

        `enabled` 2 cannot be taken back before the next boot, `failure` 2 makes
        the machine panic on loss; `backlog_wait_time` is in jiffies.
        """
        wanted = {
            "enabled": enabled,
            "failure": failure,
            "rate_limit": rate_limit,
            "backlog_limit": backlog_limit,
            "backlog_wait_time": backlog_wait_time,
        }
        values = {name: value for name, value in wanted.items() if value is not None}
        if values:
            named = ", ".join(f"{name} to {value}" for name, value in values.items())
            self._change(messages.SET, messages.change_status(**values), f"setting {named}")

    def reset_lost(self) -> int:
        """Set `lost` to 0 and give what it was (Linux 4.12 and newer)."""
        return self._change(messages.SET, messages.change_status(lost=0), "resetting lost")

    def reset_backlog_wait_time_actual(self) -> int:
        """Set `backlog_wait_time_actual` to 0 and give what it was (Linux 5.9 and newer)."""
        request = messages.change_status(backlog_wait_time_actual=0)
        return self._change(messages.SET, request, "resetting backlog_wait_time_actual")

    # -- the daemon's place ---------------------------------------------------

    def unregister(self) -> None:
        """Give up the daemon's place; KernelError (EACCES) if we do not hold it."""
        action = "unregistering as the audit daemon"
        self._change(messages.SET, messages.change_status(pid=0), action)

    def signal_info(self) -> SignalInfo:
        """Ask who sent the daemon, which must be us, its last signal."""
        answer = self._socket.get(messages.SIGNAL_INFO, "asking who signalled the daemon")
        return SignalInfo.from_bytes(answer)

    # -- rules ----------------------------------------------------------------

    def rules(self) -> list[Rule]:
        """List the loaded rules, list by list, each in the order in which it is asked."""
        return [Rule.from_bytes(data) for data in self.raw_rules()]

    def raw_rules(self) -> list[bytes]:
        """List the loaded rules as the kernel writes them (struct audit_rule_data)."""
        return self._socket.collect(messages.LIST_RULES, "listing the audit rules")

    def add_rule(self, rule: Rule | bytes, *, prepend: bool = False) -> None:
        """Add a rule at the end of its list, or at its head.

        KernelError with EEXIST if it is loaded already, ENOENT if a watched
        folder is not there.
        """
        data = rule.to_bytes(prepend=prepend) if isinstance(rule, Rule) else rule
        self._change(messages.ADD_RULE, data, f"adding the rule `{_shown(rule)}`")

    def delete_rule(self, rule: Rule | bytes) -> None:
        """Delete the rule that is equal to this one; KernelError with ENOENT if none is."""
        data = rule.to_bytes() if isinstance(rule, Rule) else rule
        self._change(messages.DELETE_RULE, data, f"deleting the rule `{_shown(rule)}`")

    def delete_rules(self, key: str | None = None) -> int:
        """Delete every rule, or those that have a key with `key` in it; gives how many."""
        count = 0
        for data in self.raw_rules():
            if key is None or any(key in each for each in Rule.from_bytes(data).keys):
                self.delete_rule(data)
                count += 1
        return count

    def trim(self) -> None:
        """Forget watched subtrees that are no longer mounted."""
        self._change(messages.TRIM, b"", "trimming watched trees")

    def make_equivalent(self, mount: str, subtree: str) -> None:
        """Watch `subtree` as part of the watched `mount`."""
        data = messages.equivalent(mount, subtree)
        self._change(messages.MAKE_EQUIVALENT, data, f"watching {subtree} as part of {mount}")

    # -- features -------------------------------------------------------------

    def features(self) -> Features:
        """Ask which features are on and locked."""
        answer = self._socket.get(messages.GET_FEATURE, "asking for audit's features")
        return Features.from_bytes(answer)

    def set_feature(self, bits: int, *, on: bool, lock: bool = False) -> None:
        """Switch features (messages.LOGINUID_IMMUTABLE ...); a lock lasts until the next boot."""
        data = messages.change_features(bits, on=on, lock=lock)
        self._change(messages.SET_FEATURE, data, "changing audit's features")

    # -- what a line of a rule file asks for ----------------------------------

    def apply(self, command: Command) -> None:  # noqa: C901 - one case a command
        """Do what a line of a rule file asks for; OnError is the loader's own business."""
        match command:
            case Add(rule, prepend):
                self.add_rule(rule, prepend=prepend)
            case Delete(rule):
                self.delete_rule(rule)
            case DeleteAll(key):
                self.delete_rules(key)
            case Set("loginuid_immutable", value):
                # auditctl --loginuid-immutable locks it as well.
                self.set_feature(messages.LOGINUID_IMMUTABLE, on=bool(value), lock=True)
            case Set(name, value):
                self.set(**{name: value})
            case Reset("lost"):
                self.reset_lost()
            case Reset():
                self.reset_backlog_wait_time_actual()
            case Trim():
                self.trim()
            case MakeEquivalent(mount, subtree):
                self.make_equivalent(mount, subtree)
            case OnError():
                pass

    # -- how changes are refused ----------------------------------------------

    def _change(self, kind: int, payload: bytes, action: str) -> int:
        try:
            code = self._socket.request(kind, payload, action)
        except KernelError as error:
            hint = _HINTS.get((kind, error.errno))
            if hint is not None:
                raise KernelError(f"{action}: {hint}", "", error.errno) from error
            raise self._locked_or(error) from error
        if self.listener is not None:
            self.listener(kind, payload)
        return code

    def _locked_or(self, error: KernelError) -> KernelError:
        """Tell a lock from a missing privilege: whoever may ask for the status has that."""
        if error.errno != errno.EPERM:
            return error
        try:
            locked = self.status().enabled == messages.LOCKED
        except KernelError:
            return error
        if not locked:
            return error
        action = error.what.partition(": ")[0]
        return LockedError(
            f"{action}: audit is locked (-e 2)", "only a reboot unlocks it", error.errno
        )


_HINTS = {
    (messages.ADD_RULE, errno.EEXIST): "it is loaded already",
    (messages.ADD_RULE, errno.ENOENT): "what it watches is not there",
    (messages.ADD_RULE, errno.EINVAL): "the kernel does not take such a rule",
    (messages.DELETE_RULE, errno.ENOENT): "it is not loaded",
    (messages.SET, errno.EACCES): "we are not the audit daemon",
}


def _shown(rule: Rule | bytes) -> str:
    return printing.text(rule if isinstance(rule, Rule) else Rule.from_bytes(rule))
