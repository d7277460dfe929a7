"""The kernel's audit for a part of a measurement, with processes that make calls.

    with held(as_auid, folder) as kernel, loaded(kernel.control, ["-a always,exit ..."]):
        kernel.busy.ask("getppid", 1000, chunks=9)

Only the rules of the measurement are loaded; the earlier rules are restored at the end.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from callers import READS_ALONE, Caller, caller
from fixtures.audit import exclusive_audit, restored
from live.programs import fresh_auid
from readers import nothing_kept

from auditsvc.rule import Add, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditsvc.kernel import Control


@dataclass(frozen=True, slots=True)
class Held:
    """The kernel's audit and the processes of a part."""

    control: Control
    folder: Path
    auid: int
    """Of all callers."""
    plain: Caller
    """These three have no audit context: `plain`, one to be traced, one whose reads are."""
    traced: Caller
    reads: Caller
    busy: Caller
    """This one has."""


@contextmanager
def held(as_auid: Path, folder: Path) -> Iterator[Held]:
    """Use audit exclusively, for two minutes at most, as others wait for it."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as name,
        exclusive_audit() as control,
        restored(control),
        ExitStack() as stack,
    ):
        own = Path(name)
        own.chmod(0o755)
        opened = own / "opened"
        opened.touch()
        auid = fresh_auid()
        control.delete_rules()
        # Without a reader the kernel writes every record to its console.
        with nothing_kept():
            # For this login uid only: all other tasks stay covered.
            with loaded(control, [f"-a never,task -F auid={auid}"]):
                plain, traced, reads = (
                    stack.enter_context(caller(as_auid, auid, opened, under))
                    for under in ((), (), READS_ALONE)
                )
            busy = stack.enter_context(caller(as_auid, auid, opened))
        yield Held(control, own, auid, plain, traced, reads, busy)


@contextmanager
def loaded(control: Control, texts: Sequence[str], *, first: bool = False) -> Iterator[None]:
    """Load rules, at the head of the list or at its end, and delete them afterwards."""
    commands = [line.command for line in parse("\n".join(texts), "benchmark")]
    rules = [command.rule for command in commands if isinstance(command, Add)]
    assert len(rules) == len(texts)
    control.set(enabled=0)  # or each change is a record
    for rule in rules:
        control.add_rule(rule, prepend=first)
    control.set(enabled=1)
    try:
        yield
    finally:
        control.set(enabled=0)
        for rule in rules:
            control.delete_rule(rule)
        control.set(enabled=1)
