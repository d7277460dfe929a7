"""The events that a reader selects, as conditions on the tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import and_, false, literal, not_, or_, select, true

from auditsvc.store.schema import (
    context,
    event,
    host,
    record_type,
    syscall,
    syscall_name,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement, Select

    Within = Callable[[ColumnElement[int]], ColumnElement[bool]]
    """Makes the condition on an id."""

KEY_SEPARATOR: Final = ","
"""Between the keys of a rule that has several, as the column `key` shows them."""

EVERY_TYPE: Final = "*"


class Process(NamedTuple):
    """An excluded process; its pid is valid from one event id to another."""

    host: str
    pid: int
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Selection:
    """All given parts must hold; an empty part selects everything.

    System calls: `keys` one of which the call must carry, `exclude_keys` that do not
    count as a key, `keyed` whether it must carry a key at all, `syscalls` by name,
    `success` 1 or 0, `auids`, `programs` by exe, `exclude_pids`, `exclude` by process.
    Events without a system call: only those of the record types in `types`, by name,
    `*` for all; of the other parts `auids`, `hosts` and what excludes hold for them too.
    """

    keys: tuple[str, ...] = ()
    exclude_keys: tuple[str, ...] = ("all-syscalls",)
    keyed: bool = True
    syscalls: tuple[str, ...] = ()
    success: int | None = None
    auids: tuple[int, ...] = ()
    programs: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    exclude_pids: tuple[int, ...] = ()
    exclude: tuple[Process, ...] = ()

    def calls(self, within: Within) -> Select[int]:
        """Ids of the system calls whose id is `within`, in order."""
        found = select(syscall.c.id)
        if not self._is_of_all_callers:
            found = found.join(context, context.c.id == syscall.c.context)
        conditions = [within(syscall.c.id)]
        if self.keyed or self.keys:
            key = text.alias("key_text")
            found = found.join(key, key.c.id == context.c.key)
            conditions.append(self._key(key.c.value))
        if self.syscalls:
            named = and_(syscall_name.c.arch == context.c.arch, syscall_name.c.nr == syscall.c.nr)
            found = found.join(syscall_name, named)
            conditions.append(syscall_name.c.name.in_(self.syscalls))
        if self.success is not None:
            conditions.append(syscall.c.success == self.success)
        if self.programs:
            exe = text.alias("exe_text")
            found = found.join(exe, exe.c.id == context.c.exe)
            conditions.append(exe.c.value.in_(self.programs))
        conditions += self._who(syscall.c.id, context.c.auid, context.c.pid, context.c.host)
        return found.where(*conditions).order_by(syscall.c.id)

    @property
    def _is_of_all_callers(self) -> bool:
        """Whether nothing is asked of a call's context."""
        of_calls = (self.keyed, self.keys, self.syscalls, self.programs)
        of_who = (self.auids, self.hosts, self.exclude_pids, self.exclude)
        return not any((*of_calls, *of_who))

    def others(self, within: Within) -> Select[int] | None:
        """Ids of the other events whose id is `within`, in order; None if none is wanted."""
        if not self.types:
            return None
        found = select(event.c.id).where(within(event.c.id))
        if EVERY_TYPE not in self.types:
            numbers = select(record_type.c.type).where(record_type.c.name.in_(self.types))
            found = found.where(event.c.type.in_(numbers))
        found = found.where(*self._who(event.c.id, event.c.auid, event.c.pid, event.c.host))
        return found.order_by(event.c.id)

    def _key(self, value: ColumnElement[str]) -> ColumnElement[bool]:
        """Whether a text of keys holds one that is wanted and one that counts."""
        wanted = or_(*(_has(value, key) for key in self.keys)) if self.keys else true()
        return and_(wanted, _counts(value, self.exclude_keys) if self.keyed else true())

    def _who(
        self,
        identity: ColumnElement[int],
        auid: ColumnElement[int],
        pid: ColumnElement[int],
        where: ColumnElement[int],
    ) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        if self.auids:
            conditions.append(auid.in_(self.auids))
        if self.exclude_pids:
            conditions.append(or_(pid.is_(None), pid.not_in(self.exclude_pids)))
        for each in self.exclude:
            of_host = select(host.c.id).where(host.c.name == each.host).scalar_subquery()
            its_own = and_(pid == each.pid, where == of_host)
            its_time = identity.between(each.since, each.until)
            conditions.append(or_(pid.is_(None), not_(and_(its_own, its_time))))
        if self.hosts:
            conditions.append(where.in_(select(host.c.id).where(host.c.name.in_(self.hosts))))
        return conditions


def _has(value: ColumnElement[str], key: str) -> ColumnElement[bool]:
    """Whether `key` is one of the keys in a text."""
    framed = literal(KEY_SEPARATOR) + value + literal(KEY_SEPARATOR)
    return framed.contains(f"{KEY_SEPARATOR}{key}{KEY_SEPARATOR}", autoescape=True)


def _counts(value: ColumnElement[str], excluded: Sequence[str]) -> ColumnElement[bool]:
    """Whether a text of keys holds one that is not excluded: one of another key, or several.

    Several of which all are excluded are rare, and still somebody's rule: they count.
    """
    return value.not_in(excluded) if excluded else ~false()
