"""An event in a few words: who did what to what, how, and whether it succeeded.

The parts are those of audit-userspace's normaliser, which `ausearch --format text` and `csv`
show: subject, action, object, result and how. They are made of our own tables
(`auditsvc.tables.verbs`): every system call has an action, of which ausearch's own text calls
nearly half `triggered-audit-rule`. The view `story` is made of the same tables
(`auditsvc.store.views.story`), which says them in other words; a test holds both equal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.enrich import kinds
from auditsvc.record.types import CONFIG_CHANGE, DAEMON_CLOSE, DAEMON_CONFIG, is_message
from auditsvc.search import interpret
from auditsvc.tables import arguments, effects, names, shapes, verbs
from auditsvc.tables.names_of_objects import (
    ABOUT_ACCOUNTS,
    BY_OPERATION,
    BY_TYPE,
    CARRIERS,
    END_OF,
    FIELDS,
    SCRIPTED,
    SETTINGS,
    TAMPER,
    TELLING,
    VALUES,
    WITH_OPERATION,
    Told,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditsvc.store.read.events import Call, Event

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
    goes_on: bool
    """Whether it is a connect that goes on: neither done nor refused."""
    target: str
    """The object as a sentence names it: with its port; of a process, its id."""
    object: str
    object_more: str
    """More of the object: for a file its inode, for an address its port, for a process its pid."""
    object2: str
    link: str
    """The word before it in a sentence."""
    object_label: str
    object_kind: str
    how: str
    """The program."""
    key: str
    as_user: str
    """The effective user, as whom a sentence says that it was done."""

    def sentence(self) -> list[str]:
        """Give the parts of a sentence, to be joined by spaces: who did what to what, and how."""
        acting = self.as_user and self.as_user != self.subject
        parts = [f"{self.subject}, acting as {self.as_user}," if acting else self.subject]
        if self.goes_on:
            parts.append("asynchronously")
        elif self.succeeded is not None:
            parts.append("successfully" if self.succeeded else "unsuccessfully")
        parts.append(self.action)
        if self.target:
            parts.append(self.target)
        if self.object2 and self.action != "rebooted":  # arguments.OURS
            parts += [self.link, self.object2]
        if self.how and self.action != "executed":
            parts += ["using", self.how]
        return parts


def summary(event: Event) -> Summary:
    """Sum up an event."""
    return _of_call(event) if event.call is not None else _of_other(event)


def _of_call(event: Event) -> Summary:
    assert event.call is not None
    call, row = event.call, event.call.context
    own = call.syscall or str(call.nr)
    name = arguments.PARTS.get(own, {}).get(call.a0 & _ALL, own)
    verb = verbs.CALLS.get(name, verbs.Verb(f"made-call {name}", "system"))
    objects = _objects(event)
    kind = verb.object_kind
    if kind == "file" and event.paths and _is_folder(event.paths):
        kind = "directory"
    event_kind = "audit-rule"
    found, target = objects.found, objects.target
    if not target and name in effects.OBJECT:
        number = _signed((call.a0, call.a1)[effects.OBJECT[name]])
        target = str(number) if number or name in effects.OF_ANOTHER else ""
        found = found or target
    if not found and kind in ("memory", "process") and name not in effects.OF_ANOTHER:
        found = row["comm"] or ""
        target = target or found
    second = objects.second
    if name in effects.SECOND:
        second = _argument(call, own, effects.SECOND[name]) if own in (name, "prctl") else ""
    told = next((each for each in event.records if each["type"] in _OF_OTHER_KIND), None)
    if told is not None:  # what the kernel itself says of it
        event_kind = _EVENT_KINDS.get(kinds.kind_of_type(told["type"]).name, "configuration")
    link = effects.LINKS.get(name, "to")
    if (telling := _telling(event, name)) is not None:
        fields = telling["fields"] or {}
        verb = _verb_of(telling["type"], fields)
        kind, link = verbs.TYPES[telling["type"]].object_kind, "to"
        found = target = _named(telling["type"], fields)
        second = _changed_to(telling["type"], fields)
    return Summary(
        kind=event_kind,
        session=_number(row["ses"]),
        subject=_enriched(event, "AUID") or _subject(row["auid"]),
        acting=_enriched(event, "UID") or _name(row["uid"]),
        subject_kind=_kind_of_user(row["auid"], row["uid"]),
        subject_label=row["subj"] or "",
        action=verb.action,
        succeeded=None if call.success is None else bool(call.success),
        goes_on=name == "connect" and call.success == 0 and call.exit in effects.IN_PROGRESS,
        target=target,
        object=found,
        object_more=objects.more,
        object2=second,
        link=link,
        object_label=objects.label,
        object_kind=kind,
        how=_how(row["exe"], row["comm"]),
        key=row["key"] or "",
        as_user=_enriched(event, "EUID") or _name(row["euid"]),
    )


def _argument(call: Call, name: str, place: int) -> str:
    """Give an argument in words; "" if it has none."""
    first, value = call.a0 & _ALL, (call.a0, call.a1, call.a2, call.a3)[place] & _ALL
    shaped = arguments.PARTS["prctl"].get(first, name) if name == "prctl" else name
    if (shaped, place) not in arguments.ARGUMENTS:
        return ""
    return interpret.argument(shaped, place, f"{value:x}")


def _signed(value: int) -> int:
    low = value & shapes.WORD
    return low - (1 << 32) if low >> 31 else low


_ALL: Final = (1 << 64) - 1
_OF_OTHER_KIND: Final = ("CONFIG_CHANGE", "AVC", "USER_AVC", "NETFILTER_CFG", "MAC_STATUS")


def _telling(event: Event, call: str) -> Mapping[str, Any] | None:
    """Give the record that says what a call did, if there is one that says more than its name."""
    told = (CONFIG_CHANGE, *TELLING) if call in CARRIERS else (CONFIG_CHANGE,)
    found = [each for each in event.records if _number_of(each) in told]
    return min(found, key=_number_of, default=None)


def _number_of(record: Mapping[str, Any]) -> int:
    return names.record_type_number(record["type"]) or 0


def _verb_of(type_name: str, fields: Mapping[str, Any]) -> verbs.Verb:
    """Give the verb of a record, which its operation can tell."""
    verb = verbs.TYPES.get(type_name, verbs.Verb(f"made-record {type_name}", "system"))
    did = verbs.OPERATIONS.get(_operation(type_name, fields))
    return verb if did is None else did._replace(object_kind=verb.object_kind)


def _operation(type_name: str, fields: Mapping[str, Any]) -> str:
    """Give the operation that a record tells, as verbs have it; "" if it tells none."""
    number = names.record_type_number(type_name)
    op = _first(fields, "op")
    if number == DAEMON_CLOSE:
        return END_OF + op
    if number == DAEMON_CONFIG and op == TAMPER:
        return f"{op} {_first(fields, 'what')}"
    return op if number in WITH_OPERATION else ""


def _told_by(type_name: str, fields: Mapping[str, Any]) -> Told | None:
    """Give where the record's operation has its object, if it says so."""
    return BY_OPERATION.get(_operation(type_name, fields))


def _named(type_name: str, fields: Mapping[str, Any]) -> str:
    """Give the object that a record names; "" if it names none."""
    if (told := _told_by(type_name, fields)) is not None:
        return next((word for name in told.object if (word := _first(fields, name))), "")
    own = (_own(fields, name) for name in BY_TYPE.get(type_name, ()))
    if word := next(filter(None, own), ""):
        return interpret.user(word) if type_name == "LOGIN" else word
    if setting := next((name for name in SETTINGS if fields.get(name) is not None), ""):
        return setting
    if word := next((word for name in FIELDS if (word := _first(fields, name))), ""):
        return word
    has_verb = _operation(type_name, fields) in verbs.OPERATIONS
    return "" if has_verb or type_name in ABOUT_ACCOUNTS else _first(fields, "op")


def _changed_to(type_name: str, fields: Mapping[str, Any]) -> str:
    """Give what the object that a record names was changed to, or more of it."""
    if (told := _told_by(type_name, fields)) is not None:
        return next((word for name in told.second if (word := _first(fields, name))), "")
    return next((word for name in (*SETTINGS, *VALUES) if (word := _first(fields, name))), "")


def _refused_call(fields: Mapping[str, Any]) -> str:
    """Give the call that seccomp refused: its name, or else its number."""
    machine, number = _first(fields, "arch"), _first(fields, "syscall")
    if re.fullmatch("[0-9a-f]{1,8}", machine) and re.fullmatch("[0-9]{1,9}", number):
        return names.syscall_name(int(machine, 16), int(number)) or number
    return number


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
    verb = _verb_of(row["type"], fields)
    named, changed_to = _named(row["type"], fields), _changed_to(row["type"], fields)
    if row["type"] == "SECCOMP":
        named = _refused_call(fields)
    if row["type"] == "URINGOP":
        named = changed_to = ""
        number = _first(fields, "uring_op")
        if number.isdecimal() and len(number) < 10:
            verb = verbs.CALLS.get(names.uring_op_name(int(number)) or "", verb)
    event_kind = _EVENT_KINDS.get(kind.name, kind.name)
    if row["type"].startswith("DAEMON_"):
        event_kind = "audit-daemon"
    # The first: the kernel's. What stands behind it is a program's own word.
    uid = _first(fields, "uid") or ("" if row["uid"] is None else str(row["uid"]))
    objects = _objects(event)
    acting = _first(fields, "UID") or (interpret.user(uid) if uid else "")
    return Summary(
        kind=event_kind,
        session=_number(row["ses"]) if "ses" in fields else "",
        subject=_first(fields, "AUID") or _subject(row["auid"]),
        acting=acting,
        subject_kind=_kind_of_user(row["auid"], row["uid"]),
        subject_label=_first(fields, "subj") or _first(fields, "scontext"),
        action=verb.action,
        succeeded=_succeeded(fields) if row["type"] != "SECCOMP" else False,
        goes_on=False,
        target=named or objects.target,
        object=named or objects.found,
        object_more=_own(fields, "addr") if named else objects.more,
        object2=changed_to or ("" if named else objects.second),
        link=(_told_by(row["type"], fields) or Told()).link,
        object_label=objects.label or _first(fields, "tcontext"),
        object_kind=verb.object_kind,
        how=_how(_own(fields, "exe"), _first(fields, "comm")),
        key="" if is_message(names.record_type_number(row["type"]) or 0) else _first(fields, "key"),
        as_user=acting,
    )


class _Objects(NamedTuple):
    """The parts of a Summary about the objects."""

    found: str = ""
    more: str = ""
    second: str = ""
    label: str = ""
    target: str = ""


def _objects(event: Event) -> _Objects:
    """Give what an event's records name: an address, a process, files, or else the program."""
    call = event.call
    if call is not None and (module := _field(event, "KERN_MODULE", "name")):
        return _Objects(module, target=module)
    if event.sockaddrs and (target := _address(event.sockaddrs[0])):
        address = event.sockaddrs[0]
        where = str(address["path"] or address["address"] or address["family"])
        port = "" if address["port"] is None else str(address["port"])
        return _Objects(where, port, target=target)
    if pid := _field(event, "OBJ_PID", "opid"):
        name, label = (_field(event, "OBJ_PID", each) for each in ("ocomm", "obj"))
        return _Objects(name, pid, "", label, pid)
    files = [path for path in event.paths if path["nametype"] != "PARENT" and path["name"]]
    if not files:
        program = call.argv[0] if call is not None and call.argv else ""
        return _Objects(program, target=program)
    full = [_full(call, path) for path in files]
    many = full[-1] != full[0] and not (call is not None and call.argv)
    inode = files[0]["inode"]
    return _Objects(
        full[0],
        "" if inode is None else str(inode),
        full[-1] if many else "",
        files[0]["obj"] or "",
        full[0],
    )


def _address(row: Mapping[str, Any]) -> str:
    """Give an address as one text: a path, 192.0.2.1:443, [2001:db8::1]:443, or its family."""
    if row["path"]:
        return str(row["path"])
    where, port = row["address"], row["port"]
    if where and port is not None and row["family"] in ("inet", "inet6", "vsock"):
        return f"[{where}]:{port}" if row["family"] == "inet6" else f"{where}:{port}"
    return str(where or row["family"] or "")


def _field(event: Event, kind: str, name: str) -> str:
    """Give a field of the first record of a type; "" if there is none."""
    for record in event.records:
        if record["type"] == kind:
            return _first(record["fields"] or {}, name)
    return ""


_AT_FDCWD: Final = 0xFFFFFF9C


def _full(call: Call | None, path: Mapping[str, Any]) -> str:
    """Give the path of a file that a call named, as the view `paths` does; else its name."""
    name: str = path["name"]
    cwd = call.context["cwd"] if call is not None else None
    if name.startswith("/") or call is None or cwd is None:
        return name
    places = (call.a0, call.a1, call.a2)
    elsewhere = any(
        arguments.ARGUMENTS.get((call.syscall or "", place)) == "dirfd"
        and value & shapes.WORD != _AT_FDCWD
        for place, value in enumerate(places)
    )
    target = call.syscall in ("symlink", "symlinkat") and path["nametype"] == "UNKNOWN"
    if elsewhere or target:
        return name
    return str(cwd) if name in (".", "./") else f"{cwd.rstrip('/')}/{name.removeprefix('./')}"


def _is_folder(paths: Any) -> bool:
    last = paths[-1]["mode"]
    return isinstance(last, str) and interpret.file_mode(last).startswith("dir")


def _succeeded(fields: Mapping[str, Any]) -> bool | None:
    res = _own(fields, "res") or _first(fields, "result") or _first(fields, "success")
    if res:
        return res.lower() in ("success", "1", "yes")
    told = (_first(fields, name) for name in ("seresult", "action", "apparmor"))
    return _VERDICTS.get(next(filter(None, told), "").lower())


_VERDICTS: Final = {"granted": True, "allowed": True, "denied": False, "kill": False}


def _own(fields: Mapping[str, Any], name: str) -> str:
    """Give a field that libaudit, or the kernel, writes last (`store.views.words.own_field`)."""
    value = _last(fields, name)
    return "" if value == "?" else value


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
    if comm and (not exe or program.rstrip("0123456789.") in SCRIPTED):
        return comm
    return exe or ""
