"""An event in a few words: who did what to what, how, and whether it succeeded.

The parts are those of audit-userspace's normaliser, which `ausearch --format text` and `csv`
show: subject, action, object, result and how. They are made of our own tables
(`auditsvc.tables.verbs`): every system call has an action, of which ausearch's own text calls
nearly half `triggered-audit-rule`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from auditsvc.enrich import kinds
from auditsvc.search import interpret
from auditsvc.tables import verbs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditsvc.store.read.events import Event

_SHELLS: Final = ("python", "sh", "bash", "perl")
_SYSTEM: Final = range(1, 1000)
_EVENT_KINDS: Final = {
    "file": "audit-rule",
    "user": "user-login",
    "account": "user-account",
    "denial": "mac-decision",
    "anomaly": "anomaly",
    "service": "system-services",
    "audit": "configuration",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """The parts, as texts; "" for what the event does not have."""

    kind: str
    """Of the event."""
    session: str
    subject: str
    """The user who logged in; `system` if nobody did."""
    acting: str
    """The user as whom it was done."""
    subject_kind: str
    subject_label: str
    action: str
    succeeded: bool | None
    object: str
    object_more: str
    """More of the object: for a file its inode, for an address its port, for a process its pid."""
    object2: str
    object_label: str
    object_kind: str
    how: str
    """The program."""
    key: str


def summary(event: Event) -> Summary:
    """Sum up an event."""
    return _of_call(event) if event.call is not None else _of_other(event)


def _of_call(event: Event) -> Summary:
    assert event.call is not None
    call, row = event.call, event.call.context
    name = call.syscall or str(call.nr)
    verb = verbs.CALLS.get(name, verbs.Verb(f"made-call {name}", "system"))
    found, more, second, label = _object(event)
    kind = verb.object_kind
    if kind == "file" and found and event.paths and _is_folder(event.paths):
        kind = "directory"
    event_kind = "audit-rule"
    if not found and kind in ("memory", "process"):
        found = row["comm"] or ""
    if name in _WITH_MODE and (given := _WITH_MODE[name]):
        second = interpret.argument(name, given, f"{(call.a1, call.a2)[given - 1] & _WORD:x}")
    told = next((each for each in event.records if each["type"] in _TELLING), None)
    if told is not None:  # what the kernel itself says of it
        event_kind = _EVENT_KINDS.get(kinds.kind_of_type(told["type"]).name, "configuration")
        if told["type"] == "CONFIG_CHANGE":
            fields = told["fields"] or {}
            verb = _configured(fields)
            found, kind = _first(fields, "key") or found, verb.object_kind
    return Summary(
        kind=event_kind,
        session=_number(row["ses"]),
        subject=_enriched(event, "AUID") or _subject(row["auid"]),
        acting=_enriched(event, "UID") or _name(row["uid"]),
        subject_kind=_kind_of_user(row["auid"], row["uid"]),
        subject_label=row["subj"] or "",
        action=verb.action,
        succeeded=None if call.success is None else bool(call.success),
        object=found,
        object_more=more,
        object2=second,
        object_label=label,
        object_kind=kind,
        how=_how(row["exe"], row["comm"]),
        key=row["key"] or "",
    )


_WORD: Final = 0xFFFFFFFF
_WITH_MODE: Final = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}
_TELLING: Final = ("CONFIG_CHANGE", "AVC", "USER_AVC", "NETFILTER_CFG", "MAC_STATUS")
_RULE_OPS: Final = {
    "add_rule": "added-audit-rule",
    "remove_rule": "deleted-audit-rule",
}


def _configured(fields: Mapping[str, Any]) -> verbs.Verb:
    verb = verbs.TYPES["CONFIG_CHANGE"]
    return verbs.Verb(_RULE_OPS.get(_first(fields, "op"), verb.action), verb.object_kind)


def _enriched(event: Event, name: str) -> str:
    """Give a name that auditd wrote for an id of the call's own record."""
    for each in event.records:
        if each["type"] == "SYSCALL":
            return _first(each["fields"] or {}, name)
    return ""


def _of_other(event: Event) -> Summary:
    row = event.event
    assert row is not None
    fields: Mapping[str, Any] = row["fields"] or {}
    kind = kinds.kind_of_type(row["type"])
    verb = verbs.TYPES.get(row["type"], verbs.Verb(f"made-record {row['type']}", "system"))
    if row["type"] == "CONFIG_CHANGE":
        verb = _configured(fields)
    event_kind = _EVENT_KINDS.get(kind.name, kind.name)
    if row["type"].startswith("DAEMON_"):
        event_kind = "audit-daemon"
    uid = _last(fields, "uid") or ("" if row["uid"] is None else str(row["uid"]))
    named = next((word for name in _OBJECTS if (word := _first(fields, name))), "")
    found, more, second, label = _object(event)
    return Summary(
        kind=event_kind,
        session=_number(row["ses"]) if "ses" in fields else "",
        subject=_first(fields, "AUID") or _subject(row["auid"]),
        acting=_first(fields, "UID") or (interpret.user(uid) if uid else ""),
        subject_kind=_kind_of_user(row["auid"], row["uid"]),
        subject_label=_first(fields, "subj") or _first(fields, "scontext"),
        action=verb.action,
        succeeded=_succeeded(fields) if row["type"] != "SECCOMP" else False,
        object=named or found,
        object_more=_first(fields, "addr") if named else more,
        object2=second,
        object_label=label or _first(fields, "tcontext"),
        object_kind=verb.object_kind,
        how=_how(_first(fields, "exe"), _first(fields, "comm")),
        key=_first(fields, "key"),
    )


_OBJECTS: Final = (
    *("cmd", "unit", "acct", "sw", "vm", "old-auid", "path", "name", "data", "key", "op"),
    *("syscall", "dev", "id"),
)


def _object(event: Event) -> tuple[str, str, str, str]:
    """Give object, more of it, a second object, and the object's label."""
    call = event.call
    files = [path for path in event.paths if path["nametype"] != "PARENT" and path["name"]]
    if call is not None and call.argv and not files:
        return call.argv[0], "", "", ""
    if event.sockaddrs:
        address = event.sockaddrs[0]
        port = address["port"]
        where = address["path"] or address["address"] or address["family"] or ""
        return str(where), "" if port is None else str(port), "", ""
    for record in event.records:
        if record["type"] == "OBJ_PID":
            fields = record["fields"] or {}
            label = str(fields.get("obj") or "")
            return str(fields.get("ocomm") or ""), str(fields.get("opid") or ""), "", label
    if not files:
        return "", "", "", ""
    cwd = call.context["cwd"] if call is not None else None
    full = [_full(cwd, path["name"]) for path in files]
    many = len(full) > 1 and full[-1] != full[0] and not (call is not None and call.argv)
    second = full[-1] if many else ""
    inode = files[0]["inode"]
    return full[0], "" if inode is None else str(inode), second, files[0]["obj"] or ""


def _full(cwd: str | None, name: str) -> str:
    return name if name.startswith("/") or not cwd else str(PurePosixPath(cwd) / name)


def _is_folder(paths: Any) -> bool:
    last = paths[-1]["mode"]
    return isinstance(last, str) and interpret.file_mode(last).startswith("dir")


def _succeeded(fields: Mapping[str, Any]) -> bool | None:
    res = _first(fields, "res") or _first(fields, "result") or _first(fields, "success")
    if res:
        return res.lower() in ("success", "1", "yes")
    verdict = _first(fields, "seresult") or _first(fields, "apparmor")
    return verdict.lower() in ("granted", "allowed") if verdict else None


def _first(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    value = value[0] if isinstance(value, list) and value else value
    return "" if value is None or value == "?" else str(value)


def _last(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    value = value[-1] if isinstance(value, list) and value else value
    return "" if value is None else str(value)


def _number(value: int | None) -> str:
    return "unset" if value is None else str(value)


def _name(uid: int | None) -> str:
    return "" if uid is None else interpret.user(str(uid))


def _subject(auid: int | None) -> str:
    return "system" if auid is None else interpret.user(str(auid))


def _kind_of_user(auid: int | None, uid: int | None) -> str:
    if uid == 0 or auid == 0:
        return "privileged-acct"
    of = uid if uid is not None else auid
    if of is None:
        return "unknown-acct"
    return "service-acct" if of in _SYSTEM else "user-acct"


def _how(exe: str | None, comm: str | None) -> str:
    program = (exe or "").rpartition("/")[2]
    if comm and (not exe or program.rstrip("0123456789.") in _SHELLS):
        return comm
    return exe or ""
