"""Control of the kernel's audit: status, rules, features, and unregistering as the daemon.

Registering is `RecordSocket.register`: the kernel sends records to the socket that registered.

From kernel/audit.c (audit_receive_msg) and kernel/auditfilter.c. Every method raises
KernelError with the kernel's errno and a hint, or LockedError where `-e 2` has locked
audit until the next boot.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Self

from auditsvc.errors import AuditsvcError, KernelError, LockedError
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
    """A connection for requests, separate from the socket that receives records."""

    def __init__(self) -> None:
        # Records need names from this module later; without it, fail now.
        audit_module()
        self._socket = ControlSocket()
        self.listener: Callable[[int, bytes], None] | None = None
        """Called with the request's type and payload after each change that the kernel made."""

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
        """Read the status."""
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
        """Change the settings that are given; the others stay as they are.

        `enabled` 2 cannot be undone before the next boot; `failure` 2 makes the kernel
        panic when it loses a record; `backlog_wait_time` is in jiffies.
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
        """Set `lost` to 0 and give its value before (Linux 4.12 and newer)."""
        return self._change(messages.SET, messages.change_status(lost=0), "resetting lost")

    def reset_backlog_wait_time_actual(self) -> int:
        """Set `backlog_wait_time_actual` to 0; gives its value before (Linux 5.9 and newer)."""
        request = messages.change_status(backlog_wait_time_actual=0)
        return self._change(messages.SET, request, "resetting backlog_wait_time_actual")

    # -- the audit daemon -----------------------------------------------------

    def unregister(self) -> None:
        """Stop being the audit daemon; KernelError (EACCES) if this process is not."""
        action = "unregistering as the audit daemon"
        self._change(messages.SET, messages.change_status(pid=0), action)

    def signal_info(self) -> SignalInfo:
        """Ask who sent the last signal to the audit daemon, which this process must be."""
        answer = self._socket.get(messages.SIGNAL_INFO, "asking who signalled the daemon")
        return SignalInfo.from_bytes(answer)

    # -- rules ----------------------------------------------------------------

    def rules(self) -> list[Rule]:
        """List the loaded rules, one filter list after the other, in the order of matching."""
        return [Rule.from_bytes(data) for data in self.raw_rules()]

    def raw_rules(self) -> list[bytes]:
        """List the loaded rules as the kernel's structs (struct audit_rule_data)."""
        return self._socket.collect(messages.LIST_RULES, "listing the audit rules")

    def add_rule(self, rule: Rule | bytes, *, prepend: bool = False) -> None:
        """Add a rule at the end of its list, or with `prepend` at its head.

        KernelError with EEXIST if it is already loaded, ENOENT if a watched folder does
        not exist.
        """
        data = rule.to_bytes(prepend=prepend) if isinstance(rule, Rule) else rule
        self._change(messages.ADD_RULE, data, f"adding the rule `{_text(rule)}`")

    def delete_rule(self, rule: Rule | bytes) -> None:
        """Delete the loaded rule that is equal to this one; KernelError with ENOENT if none is."""
        data = rule.to_bytes() if isinstance(rule, Rule) else rule
        self._change(messages.DELETE_RULE, data, f"deleting the rule `{_text(rule)}`")

    def delete_rules(self, key: str | None = None) -> int:
        """Delete all rules, or those with a key that contains `key`; gives their number."""
        count = 0
        for data in self.raw_rules():
            if key is None or any(key in each for each in Rule.from_bytes(data).keys):
                self.delete_rule(data)
                count += 1
        return count

    def trim(self) -> None:
        """Remove watched subtrees that are no longer mounted."""
        self._change(messages.TRIM, b"", "trimming watched trees")

    def make_equivalent(self, mount: str, subtree: str) -> None:
        """Watch `subtree` as part of the watched `mount`."""
        data = messages.equivalent(mount, subtree)
        self._change(messages.MAKE_EQUIVALENT, data, f"watching {subtree} as part of {mount}")

    # -- features -------------------------------------------------------------

    def features(self) -> Features:
        """Ask which features are on and which are locked."""
        answer = self._socket.get(messages.GET_FEATURE, "asking for audit's features")
        return Features.from_bytes(answer)

    def set_feature(self, bits: int, *, on: bool, lock: bool = False) -> None:
        """Set features (messages.LOGINUID_IMMUTABLE ...); a lock lasts until the next boot."""
        data = messages.change_features(bits, on=on, lock=lock)
        self._change(messages.SET_FEATURE, data, "changing audit's features")

    # -- commands of rule files -----------------------------------------------

    def apply(self, command: Command) -> None:  # noqa: C901 - one case a command
        """Run the command of a rule file's line; OnError does nothing here."""
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

    # -- refused changes ------------------------------------------------------

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
        """Distinguish locked audit from a missing privilege; reading the status needs the same."""
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
    (messages.ADD_RULE, errno.EEXIST): "it is already loaded",
    (messages.ADD_RULE, errno.ENOENT): "the path that it watches does not exist",
    (messages.ADD_RULE, errno.EINVAL): "the kernel does not accept this rule",
    (messages.DELETE_RULE, errno.ENOENT): "it is not loaded",
    (messages.SET, errno.EACCES): "this process is not the audit daemon",
}


def is_locked() -> bool:
    """Whether audit is locked until the next boot (-e 2), as far as the kernel tells us."""
    try:
        with Control() as control:
            return control.status().enabled == messages.LOCKED
    except (AuditsvcError, OSError):
        return False


def _text(rule: Rule | bytes) -> str:
    return printing.text(rule if isinstance(rule, Rule) else Rule.from_bytes(rule))
