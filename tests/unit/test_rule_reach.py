"""What rules log, from the rules alone."""

from __future__ import annotations

import pytest

from auditsvc.rule import FilterList, parse
from auditsvc.ruleset.reach import every_call, never_task


def rules(*lines):
    """Rules in the order in which the kernel would ask them."""
    return [line.command.rule for line in parse("\n".join(lines))]


@pytest.mark.parametrize(
    ("lines", "reached", "exceptions"),
    [
        (["-a always,exit -S all"], True, 0),
        (["-a always,exit -S all -k one -k two"], True, 0),
        (["-a always,exit -S all -F auid=0"], False, 0),
        (["-a always,exit -S open"], False, 0),
        (["-a always,exit -F arch=b64 -S all"], False, 0),
        (["-a never,exit -F pid=1", "-a always,exit -S all"], True, 1),
        (["-a always,exit -S all", "-a never,exit -F pid=1"], True, 0),
        (["-a never,exit -F pid=1"], False, 1),
        (["-a always,io_uring -S all", "-a never,task"], False, 0),
        ([], False, 0),
    ],
)
def test_every_call(lines, reached, exceptions):
    """An unconditional always reaches all but what a never before it takes out."""
    found, before = every_call(rules(*lines))
    assert (found, len(before)) == (reached, exceptions)


def test_lists_are_apart():
    """The io_uring list is asked by itself."""
    assert every_call(rules("-a always,io_uring -S all"), FilterList.IO_URING) == (True, [])


def test_never_task():
    """Only a never on the task list blinds."""
    assert len(never_task(rules("-a never,task", "-a never,task -F uid=0", "-a always,task"))) == 2
    assert never_task(rules("-a never,exit -S all")) == []
