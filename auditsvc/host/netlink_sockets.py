"""Netlink sockets of the host's processes, from /proc/net/netlink (af_netlink.c).

Its columns: sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode. Groups is hexadecimal,
with bit 0 for group 1; Pid is the port id, which need not be the pid of a process.
"""

from __future__ import annotations

from typing import Final, NamedTuple

NETLINK_AUDIT: Final = 9
"""The audit family, of include/uapi/linux/netlink.h."""

_READLOG: Final = 1 << 0
_COLUMNS: Final = 10


class NetlinkSocket(NamedTuple):
    """One socket of the audit family."""

    port: int
    inode: int
    drops: int
    """Datagrams dropped because its receive buffer was full."""
    multicast: bool
    """Whether it has joined AUDIT_NLGRP_READLOG."""

    @property
    def link(self) -> str:
        """Target of the links in /proc/PID/fd to this socket."""
        return f"socket:[{self.inode}]"


def audit_sockets(table: str) -> list[NetlinkSocket]:
    """Give the sockets of the audit family; `table` is the text of /proc/net/netlink."""
    rows = (line.split() for line in table.splitlines()[1:])
    return [
        NetlinkSocket(
            port=int(row[2]),
            inode=int(row[9]),
            drops=int(row[8]),
            multicast=bool(int(row[3], 16) & _READLOG),
        )
        for row in rows
        if len(row) >= _COLUMNS and int(row[1]) == NETLINK_AUDIT
    ]
