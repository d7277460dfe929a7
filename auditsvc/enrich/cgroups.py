"""Says what a control group's path tells: systemd unit, session, container. Pure: no I/O.

In: the bytes of /proc/PID/cgroup (cgroups(7)): a line `N:CONTROLLERS:PATH` for each hierarchy;
of cgroup v2 it is `0::PATH`, of systemd's own in v1 `N:name=systemd:PATH`.

Paths as the runtimes make them, each with an id of 64 hexadecimal digits:

    docker         /docker/ID, /system.slice/docker-ID.scope
    podman         /machine.slice/libpod-ID.scope, /libpod_parent/libpod-ID; conmon is none
    containerd     /kubepods.slice/.../cri-containerd-ID.scope, /kubepods/.../podUID/ID
    cri-o          /kubepods.slice/.../crio-ID.scope; crio-conmon is none
    lxc            /lxc.payload.NAME, /lxc/NAME
    systemd-nspawn /machine.slice/systemd-nspawn@NAME.service, /machine.slice/machine-NAME.scope

A user who may make groups can give one the name of a container: the path itself, which is kept
too, shows that it is below the user's slice.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_ID: Final = rb"([0-9a-f]{64})"
_NAME: Final = rb"((?:[A-Za-z0-9_.:@-]|\\x[0-9a-f]{2}){1,128}?)"
_POD: Final = rb"kubepods[^/]*/(?:[^/]+/)*"
_CONTAINERS: Final = tuple(
    (runtime, re.compile(rb"/(?:%b)(?=/|\Z)" % pattern))
    for runtime, pattern in (
        ("docker", rb"docker-%b\.scope|docker/%b" % (_ID, _ID)),
        ("podman", rb"libpod-%b(?:\.scope)?" % _ID),
        ("cri-o", rb"crio-%b(?:\.scope)?" % _ID),
        ("containerd", rb"cri-containerd-%b\.scope|%b%b" % (_ID, _POD, _ID)),
        ("lxc", rb"lxc(?:\.payload\.|/)%b" % _NAME),
        ("nspawn", rb"systemd-nspawn@%b\.service|machine-%b\.scope" % (_NAME, _NAME)),
    )
)
_UNIT: Final = re.compile(
    rb"/((?:[A-Za-z0-9:_.@-]|\\x[0-9a-f]{2}){1,255}\.(?:service|scope|socket|mount|swap))(?=/|\Z)"
)
_SESSION: Final = re.compile(rb"session-([A-Za-z0-9]{1,64})\.scope")
_DELETED: Final = b" (deleted)"
_OWN_HIERARCHY: Final = (b"", b"name=systemd")


class Place(NamedTuple):
    """Where a process is: its group's path, and what that tells; None where it tells nothing."""

    path: bytes
    unit: str | None = None
    """The unit of the system's manager; of a user's services it is user@UID.service."""
    session: str | None = None
    """systemd's session."""
    container: str | None = None
    runtime: str | None = None


def place_of(text: bytes) -> Place | None:
    """Give the place that the text of a /proc/PID/cgroup says; None if it says none."""
    paths = dict(_hierarchies(text))
    if not paths:
        return None
    own = [paths[name] for name in _OWN_HIERARCHY if paths.get(name, b"/") != b"/"]
    others = sorted(path for name, path in paths.items() if name not in _OWN_HIERARCHY)
    for path in (*own, *others):
        if (found := _container(path)) is not None:
            return _place(path, *found)
    return _place(own[0] if own else b"/")


def _hierarchies(text: bytes) -> list[tuple[bytes, bytes]]:
    # No group's name has a newline (cgroup_mkdir in kernel/cgroup/cgroup.c).
    lines = (line.split(b":", 2) for line in text.split(b"\n") if line.count(b":") > 1)
    return [(controllers, path.removesuffix(_DELETED)) for _, controllers, path in lines]


def _place(path: bytes, container: str | None = None, runtime: str | None = None) -> Place:
    unit = _UNIT.search(path)
    session = _SESSION.fullmatch(unit[1]) if unit else None
    return Place(
        path,
        unit[1].decode() if unit else None,
        session[1].decode() if session else None,
        container,
        runtime,
    )


def _container(path: bytes) -> tuple[str, str] | None:
    for runtime, pattern in _CONTAINERS:
        if (found := pattern.search(path)) is not None:
            name = next(each for each in found.groups() if each is not None)
            return name.decode(), runtime
    return None
