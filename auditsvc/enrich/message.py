r"""An event as one line for people: who, program, call, object, result.

    alice as root: cat[4711] openat /etc/shadow: EACCES
    root: useradd[812] USER_MGMT op=add-user acct=mallory: success

Control bytes are shown as \xHH, and long text is cut. The entry's fields have everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from auditsvc.host.terminal import visible
from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from auditsvc.store.read.events import Event, Row

    UserName = Callable[[int], str | None]
    """Name of a uid; None if it has none."""

_ADDRESS, _MASK = 1 << 32, (1 << 64) - 1  # from _ADDRESS on, a result is an address
_LONGEST: Final = 512  # of a part, in characters
_SHOWN: Final = ("op", "acct", "id", "unit", "hostname", "addr", "terminal", "cmd", "sig", "key")


def caller(context: Row, user: UserName) -> str:
    """Write the beginning of a system call's line: who, program."""
    return f"{who(context, user)}: {_text(context['comm'], '?')}[{context['pid']}]"


def message_of_call(event: Event, begin: str) -> str:
    """Write the line of an event with a system call; `begin` is from `caller`."""
    call = event.call
    assert call is not None
    result = outcome(call.success, call.exit)
    if call.argv or event.paths or event.sockaddrs or event.records:
        on = objects(event)
        if on:
            return f"{begin} {call.syscall} {on}: {result}"
    return f"{begin} {call.syscall}: {result}"


def message_of_type(event: Event, user: UserName) -> str:
    """Write the line of an event without a system call."""
    row = event.event
    assert row is not None
    fields: Mapping[str, Any] = row["fields"] or {}
    actor = who(row | {"euid": row["uid"]}, user)
    program = _text(fields.get("comm"), "") or _text(fields.get("exe"), "").rpartition("/")[2]
    pid = "" if row["pid"] is None else f"[{row['pid']}]"
    parts = [f"{program}{pid}"] if program or pid else []
    parts.append(str(row["type"]))
    if row["type"] == "URINGOP" and _is_number(fields.get("uring_op")):
        parts.append(names.uring_op_name(int(fields["uring_op"])) or "")
    parts += [f"{name}={_text(fields[name], '?')}" for name in _SHOWN if fields.get(name)]
    if on := objects(event):
        parts.append(on)
    result = fields.get("res") or {"yes": "success", "no": "failed"}.get(fields.get("success", ""))
    line = f"{actor}: {' '.join(part for part in parts if part)}"
    return f"{line}: {_text(result, '')}" if result else line


def _is_number(value: object) -> bool:
    return isinstance(value, str) and value.isdecimal() and len(value) < 10


def _text(value: object, absent: str) -> str:
    if value is None:
        return absent
    text = (
        value
        if isinstance(value, str)
        else ",".join(map(str, value))
        if isinstance(value, list)
        else str(value)
    )
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return visible(cut)


def who(row: Mapping[str, Any], user: UserName) -> str:
    """Give who logged in, and the acting user if it is another."""
    auid, acting = row["auid"], row["euid"]

    def named(number: int) -> str:
        return user(number) or f"uid {number}"

    if auid is None:
        return "?" if acting is None else named(acting)
    if acting is None or acting == auid:
        return named(auid)
    return f"{named(auid)} as {named(acting)}"


def objects(event: Event) -> str:
    """Give the objects of the call: the program's arguments, files, addresses, processes."""
    if event.call is not None and event.call.argv:
        return _text(" ".join(_quoted(word) for word in event.call.argv), "")
    found = [
        _text(path["name"], "")
        for path in event.paths
        if path["name"] is not None and path["nametype"] != "PARENT"
    ]
    found += [_address(each) for each in event.sockaddrs]
    for record in event.records:
        fields = record["fields"] or {}
        if record["type"] == "OBJ_PID":
            found.append(f"{_text(fields.get('ocomm'), '?')}[{_text(fields.get('opid'), '?')}]")
        elif record["type"] == "KERN_MODULE":
            found.append(_text(fields.get("name"), "?"))
    found = [each for each in found if each]
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return ", ".join(found[:4]) + more


def _quoted(word: object) -> str:
    text = str(word)
    return text if text and " " not in text else f"'{text}'"


def _address(row: Mapping[str, Any]) -> str:
    where = row["path"] or row["address"]
    if where is None:
        return str(row["family"] or "")
    port = "" if row["port"] is None else f" port {row['port']}"
    return f"{_text(where, '')}{port}"


def outcome(success: int | None, code: int | None) -> str:
    """Give the result of a system call."""
    if success is None:
        return "did not return"
    if success:
        if not code:
            return "success"
        return f"= {code}" if abs(code) < _ADDRESS else f"= 0x{code & _MASK:x}"
    return names.errno_name(-code) or str(code) if code is not None else "failed"
