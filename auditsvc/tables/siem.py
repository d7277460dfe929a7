"""How rows of four views are written as OCSF 1.3 and as ECS 8.11: a path of the target, and whence.

A source is a column; `("is", value)`: always this value; `(SHAPE, column)`: the column in a shape of
`auditsvc.render.siem`; `("of", column, {value: target})`: a choice, without a target where the value
is not listed. `VIEWS` has for each view columns by which its rows are known, and `ONLY` the values
that a row must have to be of that class; others are left out.

Maintained by hand, from https://schema.ocsf.io/1.3.0 and https://www.elastic.co/guide/en/ecs/8.11.
"""

from __future__ import annotations

from typing import Any

VIEWS = {
    "logins": {"kind", "account", "how_ended", "ses", "address"},
    "commands": {"how", "command", "cwd", "outcome"},
    "files": {"action", "path", "nametype", "success"},
    "connections": {"action", "family", "port", "outcome"},
}
ONLY: dict[str, Any] = {
    "logins": ("kind", ("session", "failed")),
    "commands": ("how", ("exec", "shell")),
    "files": None,
    "connections": ("family", ("inet", "inet6")),
}
_OUTCOME = {"success": 1, "failed": 2, "in progress": 0}
_BASE: dict[str, Any] = {
    "severity_id": ("is", 1),
    "time": ("milliseconds", "time"),
    "metadata.version": ("is", "1.3.0"),
    "metadata.product.name": ("is", "auditsvc"),
    "metadata.product.vendor_name": ("is", "auditsvc"),
    "metadata.uid": ("identity", "event_id"),
    "device.hostname": "host",
    "device.type_id": ("is", 0),
}
_ACTOR: dict[str, Any] = {
    "actor.process.pid": "pid",
    "actor.process.name": "comm",
    "actor.process.file.path": "exe",
    "actor.user.uid": ("text", "auid"),
    "actor.session.uid": ("text", "ses"),
}
OCSF: dict[str, dict[str, Any]] = {
    "logins": _BASE | {
        "class_uid": ("is", 3002),
        "category_uid": ("is", 3),
        "activity_id": ("is", 1),
        "status_id": ("of", "kind", {"session": 1, "failed": 2}),
        "user.uid": ("text", "auid"),
        "user.name": "account",
        "session.uid": ("text", "ses"),
        "session.terminal": "terminal",
        "src_endpoint.ip": ("ip", "address"),
        "src_endpoint.hostname": ("no_ip", "address"),
        "actor.process.pid": "pid",
    },
    "commands": _BASE | {
        "class_uid": ("is", 1007),
        "category_uid": ("is", 1),
        "activity_id": ("is", 1),
        "status_id": ("of", "outcome", _OUTCOME),
        "process.pid": "pid",
        "process.cmd_line": "command",
        "process.file.path": "exe",
        "process.file.name": ("name", "exe"),
        "process.user.uid": ("text", "uid"),
        "process.session.uid": ("text", "ses"),
        "process.session.terminal": "terminal",
        "actor.user.uid": ("text", "auid"),
        "actor.session.uid": ("text", "ses"),
        "unmapped.cwd": "cwd",
    },
    "files": _BASE | _ACTOR | {
        "class_uid": ("is", 1001),
        "category_uid": ("is", 1),
        "activity_id": ("of", "action", {
            "create": 1, "link": 1, "read": 2, "write": 3, "read_write": 3, "delete": 4,
            "rename": 5, "replace": 5, "attributes": 6, "time": 6, "mode": 7, "owner": 7,
            "look": 8, "open": 14, "execute": 99, "use": 99,
        }),
        "activity_name": "action",
        "status_id": ("of", "success", {True: 1, False: 2}),
        "status_code": "errno",
        "file.path": "path",
        "file.name": ("name", "path"),
        "file.type_id": ("is", 0),
        "file_result.path": "other",
        "unmapped.syscall": "syscall",
        "unmapped.detail": "detail",
    },
    "connections": _BASE | _ACTOR | {
        "class_uid": ("is", 4001),
        "category_uid": ("is", 4),
        "activity_id": ("of", "action", {
            "connect": 1, "accept": 1, "send": 6, "receive": 6, "bind": 99, "use": 99,
        }),
        "activity_name": "action",
        "status_id": ("of", "outcome", _OUTCOME),
        "status_code": "errno",
        "connection_info.direction_id": ("of", "action", {
            "connect": 2, "send": 2, "accept": 1, "receive": 1, "bind": 0, "use": 0,
        }),
        "dst_endpoint.ip": ("sent", "address"),
        "dst_endpoint.port": ("sent", "port"),
        "src_endpoint.ip": ("received", "address"),
        "src_endpoint.port": ("received", "port"),
    },
}

_RESULT = {"success": "success", "failed": "failure", "in progress": "unknown"}
_ECS: dict[str, Any] = {
    "@timestamp": ("iso", "time"),
    "ecs.version": ("is", "8.11.0"),
    "event.kind": ("is", "event"),
    "event.module": ("is", "auditsvc"),
    "event.id": ("identity", "event_id"),
    "host.hostname": "host",
    "user.id": ("text", "auid"),
}
_PROCESS: dict[str, Any] = {"process.pid": "pid", "process.name": "comm", "process.executable": "exe"}
ECS: dict[str, dict[str, Any]] = {
    "logins": _ECS | {
        "event.category": ("is", ["authentication"]),
        "event.type": ("is", ["start"]),
        "event.action": ("is", "logged-in"),
        "event.outcome": ("of", "kind", {"session": "success", "failed": "failure"}),
        "user.name": "account",
        "source.ip": ("ip", "address"),
        "source.domain": ("no_ip", "address"),
        "process.pid": "pid",
    },
    "commands": _ECS | {
        "event.category": ("is", ["process"]),
        "event.type": ("is", ["start"]),
        "event.action": ("is", "executed"),
        "event.outcome": ("of", "outcome", _RESULT),
        "user.effective.id": ("text", "uid"),
        "process.pid": "pid",
        "process.executable": "exe",
        "process.name": ("name", "exe"),
        "process.command_line": "command",
        "process.working_directory": "cwd",
    },
    "files": _ECS | _PROCESS | {
        "event.category": ("is", ["file"]),
        "event.type": ("of", "action", {
            "create": ["creation"], "link": ["creation"], "read": ["access"], "write": ["change"],
            "read_write": ["change"], "delete": ["deletion"], "rename": ["change"],
            "replace": ["change"], "attributes": ["change"], "time": ["change"], "mode": ["change"],
            "owner": ["change"], "look": ["access"], "open": ["access"], "execute": ["access"],
            "use": ["access"],
        }),
        "event.action": "action",
        "event.outcome": ("of", "success", {True: "success", False: "failure"}),
        "user.effective.id": ("text", "euid"),
        "error.code": "errno",
        "file.path": "path",
        "file.name": ("name", "path"),
        "file.inode": ("text", "inode"),
        "file.uid": ("text", "ouid"),
        "file.gid": ("text", "ogid"),
    },
    "connections": _ECS | _PROCESS | {
        "event.category": ("is", ["network"]),
        "event.type": ("is", ["connection"]),
        "event.action": "action",
        "event.outcome": ("of", "outcome", _RESULT),
        "user.effective.id": ("text", "euid"),
        "error.code": "errno",
        "network.type": ("of", "family", {"inet": "ipv4", "inet6": "ipv6"}),
        "destination.ip": ("sent", "address"),
        "destination.port": ("sent", "port"),
        "source.ip": ("received", "address"),
        "source.port": ("received", "port"),
    },
}
