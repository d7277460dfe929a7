"""`denials`: what a security module or seccomp refused, wherever the record stands.

A denial is an event of its own (SECCOMP, USER_AVC) or a record in the middle of a call (AVC).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.record.types import SECCOMP
from auditsvc.store.views import words
from auditsvc.store.views.changes import TOLD
from auditsvc.store.views.dialect import time
from auditsvc.store.views.story import (
    CALL,
    CALLED,
    as_text,
    bare,
    context,
    named_call,
    of_call,
    told_events,
)

if TYPE_CHECKING:
    from auditsvc.store.views.dialect import Dialect

_USER_AVC, _USER_SELINUX_ERR, _AVC, _SELINUX_ERR = 1107, 1122, 1400, 1401
_IPE, _LANDLOCK = 1420, 1423
_TYPES: Final = (
    *(_USER_AVC, _USER_SELINUX_ERR, SECCOMP, _AVC, _SELINUX_ERR, _IPE, _LANDLOCK, 1502, 1503),
)
"""The last two, APPARMOR_ALLOWED and APPARMOR_DENIED, are AppArmor's own of earlier kernels."""
_LISTED: Final = ", ".join(map(str, _TYPES))
_FIELDS: Final = {
    "permissive": ("permissive",),
    "apparmor": ("apparmor",),
    "seresult": ("seresult",),
    "lsm": ("lsm",),
    "verdict_told": ("action",),
    "rule": ("rule",),
    "perms": (
        *("seperms", "denied_mask", "requested_mask", "requested", "operation", "blockers", "op"),
    ),
    "subject": ("scontext", "profile", "subject", "subj", "domain"),
    "path": ("path", "name", "dest"),
    "target": ("tcontext", "peer", "object", "target"),
    "class": ("tclass", "class", "family"),
    "code": ("code",),
    "number": ("syscall",),
    "machine": ("arch",),
}


def denials(d: Dialect) -> str:
    """Give the view."""
    return f"{_alone(d)} UNION ALL {_in_calls(d)}"


def _fields(d: Dialect, source: str) -> dict[str, str]:
    def first(names: tuple[str, ...]) -> str:
        return ", ".join(words.known(words.field(d, source, name)) for name in names)

    return {column: f"coalesce({first(names)}, NULL)" for column, names in _FIELDS.items()}


_MECHANISM: Final = (
    f"CASE WHEN type = {SECCOMP} THEN 'seccomp' WHEN type = {_LANDLOCK} THEN 'landlock'"
    f" WHEN type = {_IPE} THEN 'ipe' WHEN apparmor IS NOT NULL OR type BETWEEN 1500 AND 1507"
    " THEN 'apparmor' WHEN lower(lsm) = 'smack' THEN 'smack' ELSE 'selinux' END"
)
# What AppArmor only reports (STATUS, AUDIT, HINT), and what was granted, is no denial (IPE tells
# that too, with ipe.success_audit=1: its rule ends so); nor is what a program says of itself as
# an access decision: that it has received a policy.
_REFUSED: Final = (
    f"lower(coalesce(seresult, verdict_told, CASE WHEN type <> {_USER_AVC}"
    " OR apparmor IS NOT NULL THEN 'denied' END)) = 'denied'"
    " AND coalesce(apparmor, 'DENIED') IN ('DENIED', 'ALLOWED', 'KILL')"
    f" AND (type <> {_IPE} OR coalesce(rule, '') ="
    " replace(coalesce(rule, ''), 'action=ALLOW', ''))"
)


def _enforced(d: Dialect) -> str:
    """Whether it was refused in fact: SELinux permissive, AppArmor complaining only tell."""
    # What seccomp did is in the first four digits of the code: 0x7ffc is SECCOMP_RET_LOG.
    told = (
        "CASE WHEN permissive = '1' OR apparmor = 'ALLOWED' OR type = 1502"
        f" OR type = {SECCOMP} AND substr(code, 1, 6) IN ('0x7ffc', '0x7fff') THEN 0 ELSE 1 END"
    )
    return d.truth.format(told)


def _columns(d: Dialect, call: str) -> str:
    return (
        f"event_id, host, time, {_MECHANISM} AS mechanism, {_enforced(d)} AS enforced, subject,"
        f" CASE WHEN type = {SECCOMP} THEN coalesce({call}, number)"
        f" ELSE perms END AS permission, CASE WHEN type = {SECCOMP} THEN NULL ELSE path END AS"
        f" object, target AS label, class, pid, auid, uid, ses, comm, exe, {call} AS syscall"
    )


def _alone(d: Dialect) -> str:
    more = _fields(d, "{0}")
    call = named_call(d, "number", "machine")
    return (
        f"SELECT {_columns(d, call)}"  # noqa: S608 - ours
        f" FROM ({told_events(d, more, f'WHERE e.type IN ({_LISTED})')}) told WHERE {_REFUSED}"
    )


def _in_calls(d: Dialect) -> str:
    found, joins = of_call(d)
    source = d.json.format("told.value", "r.event")
    fields = ", ".join(f"{value} AS {name}" for name, value in _fields(d, source).items())
    comm = as_text(
        f"coalesce({words.known(words.field(d, source, 'comm'))}, {bare(found['comm'])})"
    )
    inner = f"""
        SELECT s.id AS event_id, {found["host"]}, {time(d, "s")} AS time, r.type, {fields},
            c.pid, c.auid, c.uid, c.ses, {comm} AS comm, {found["exe"]}, {as_text(CALLED)} AS made
        FROM record r
        JOIN text told ON told.id = r.fields
        JOIN syscall s ON s.id = r.event
        {context(d)}
        {CALL}
        {joins}
        WHERE {TOLD} AND r.type IN ({_LISTED})"""  # noqa: S608 - ours
    return f"SELECT {_columns(d, 'made')} FROM ({inner}) told WHERE {_REFUSED}"  # noqa: S608
