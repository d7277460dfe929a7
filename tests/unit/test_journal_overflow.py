"""Records that journald's socket had no room for, from /proc."""

from __future__ import annotations

import pytest

from auditsvc.collect.journald.overflow import Overflow

HEAD = "sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n"


@pytest.fixture
def proc(tmp_path):
    """Make a /proc with a journald that holds the socket 77, and another program with 78."""
    for pid, comm, inode in ((5, "systemd-journal", 77), (6, "go-audit", 78)):
        (tmp_path / f"{pid}/fd").mkdir(parents=True)
        (tmp_path / f"{pid}/comm").write_text(comm + "\n")
        (tmp_path / f"{pid}/fd/3").symlink_to(f"socket:[{inode}]")
    (tmp_path / "7").mkdir()  # a process that is ending
    (tmp_path / "net").mkdir()
    return tmp_path


def table(*rows):
    """Make /proc/net/netlink of (protocol, groups, drops, inode)."""
    lines = (
        f"0 {eth} 1 {groups:08x} 0 0 0 2 {drops} {inode}\n" for eth, groups, drops, inode in rows
    )
    return HEAD + "".join(lines)


def test_only_journald_s_audit_socket_counts(proc):
    """Not another program's, not another protocol's, not a socket outside the group."""
    said = []
    overflow = Overflow(said.append, proc)
    (proc / "net/netlink").write_text(table((9, 1, 0, 77), (9, 1, 5, 78), (15, 1, 6, 77)))
    overflow.look(0)
    (proc / "net/netlink").write_text(table((9, 0, 9, 77)))
    overflow.look(1)
    assert said == []
    (proc / "net/netlink").write_text(table((9, 1, 12, 77), (9, 1, 5, 78)))
    overflow.look(2)
    assert len(said) == 1
    assert "dropped 12 records" in said[0]


def test_it_is_said_once_a_minute_at_most(proc):
    """More drops are said later, the same number never again."""
    said = []
    overflow = Overflow(said.append, proc)
    (proc / "net/netlink").write_text(table((9, 1, 12, 77)))
    for now in (0, 1, 59, 61, 200):
        overflow.look(now)
    assert len(said) == 1
    (proc / "net/netlink").write_text(table((9, 1, 13, 77)))
    for now in (201, 202):
        overflow.look(now)
    assert len(said) == 2


def test_a_kernel_without_the_table_has_nothing_to_tell(tmp_path):
    """No /proc/net/netlink is no error."""
    said = []
    Overflow(said.append, tmp_path).look(0)
    assert said == []
