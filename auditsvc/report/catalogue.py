"""The reports: the options of aureport, which events each shows, and what its sums are of.

A report shows the events that have a record of its `types`, or, without these, those of which
its `known` column is known. Columns are named as in aureport's headings (`event` is the serial);
`label=source` shows the column `source` of `columns` under another name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from auditsvc.record.types import SECCOMP
from auditsvc.report import types
from auditsvc.report.types import Types


class Column(NamedTuple):
    """A column: what it is called, and which value of `columns` it shows."""

    label: str
    source: str


@dataclass(frozen=True, slots=True)
class Report:
    """One report. `object` is what `--summary` counts by; None: it has no sums."""

    name: str
    options: tuple[str, ...]
    title: str
    columns: tuple[Column, ...]
    object: Column | None
    types: Types | None = None
    known: str = ""
    about: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """The values of an event, but for `event`."""
        return tuple(column.source for column in self.columns if column.source != "event")

    def interpreted(self) -> Report:
        """Give the report with names of users: those that were logged, where there are some."""
        columns = tuple(_interpreted(column) for column in self.columns)
        return replace(
            self, columns=columns, object=None if self.object is None else _interpreted(self.object)
        )


def _interpreted(column: Column) -> Column:
    return column._replace(source="auid_named") if column.source == "auid" else column


def _report(
    name: str,
    options: str,
    title: str,
    columns: str,
    of: str,
    *,
    types: Types | None = None,
    known: str = "",
    about: str = "",
) -> Report:
    shown = tuple(map(_column, columns.split()))
    counted = _column(of) if of else None
    return Report(name, tuple(options.split()), title, shown, counted, types, known, about)


def _column(text: str) -> Column:
    label, _, source = text.partition("=")
    return Column(label, source or label)


REPORTS: Final = (
    _report(
        "avc", "-a --avc", "Denials of SELinux and AppArmor",
        "comm subj syscall class permission obj result event", "obj",
        types=types.AVC, about="Decisions of SELinux and AppArmor.",
    ),
    _report(
        "auth", "-au --auth", "Authentications",
        "acct=account host term exe success event", "acct=account_counted",
        types=Types((types.USER_AUTH, types.USER_MGMT)), about="Attempts to authenticate.",
    ),
    _report(
        "config", "-c --config", "Changes of configuration",
        "type auid success event", "type", types=types.CONFIG,
        about="Changes of audit's, network filter's and MAC's configuration.",
    ),
    _report(
        "command", "--comm", "Commands", "comm term host auid event", "comm", known="comm",
        about="Commands by their short name.",
    ),
    _report(
        "crypto", "-cr --crypto", "Cryptographic events", "auid type success event", "type",
        types=types.CRYPTO, about="Cryptographic events.",
    ),
    _report(
        "event", "-e --event", "Events", "event type auid success", "type", about="All events.",
    ),
    _report(
        "file", "-f --file", "Files", "file syscall success exe auid event", "file", known="file",
        about="File names that calls were given.",
    ),
    _report(
        "host", "-h --host", "Remote hosts", "host syscall auid event", "host", known="host",
        about="Remote hosts.",
    ),
    _report(
        "integrity", "--integrity", "Integrity", "type success event", "type",
        types=types.INTEGRITY, about="Events of the integrity measurement.",
    ),
    _report(
        "key", "-k --key", "Keys of rules", "key success exe auid event", "key", known="key",
        about="Events by the keys of rules.",
    ),
    _report(
        "login", "-l --login", "Logins", "auid=who host term exe success event", "auid=who_counted",
        types=Types((types.USER_LOGIN,)), about="Logins.",
    ),
    _report(
        "mods", "-m --mods", "Changes of accounts",
        "auid addr=host term exe acct success event", "type", types=types.ACCOUNTS,
        about="Changes of accounts, groups and roles.",
    ),
    _report(
        "mac", "-ma --mac", "Mandatory access control", "auid type success event", "type",
        types=types.MAC, about="Changes of mandatory access control.",
    ),
    _report(
        "anomaly", "-n --anomaly", "Anomalies", "type exe=program term host auid event", "type",
        types=types.USER_ANOMALY | types.KERNEL_ANOMALY | Types((SECCOMP,)), about="Anomalies.",
    ),
    _report(
        "pid", "-p --pid", "Process ids", "pid exe syscall auid event", "pid", known="pid",
        about="Events by process id.",
    ),
    _report(
        "response", "-r --response", "Responses to anomalies", "type success event", "type",
        types=types.RESPONSE, about="Responses to anomalies.",
    ),
    _report(
        "syscall", "-s --syscall", "System calls", "syscall pid comm auid event", "syscall",
        known="syscall", about="System calls.",
    ),
    _report(
        "log", "-t --log", "Times of the logs", "source kind first last", "",
        about="Each log's time.",
    ),
    _report(
        "terminal", "-tm --terminal", "Terminals", "term host exe auid event", "term",
        known="term", about="Events by terminal.",
    ),
    _report(
        "tty", "--tty", "Keystrokes", "event auid term ses comm data", "",
        types=Types((types.TTY, types.USER_TTY)), about="Keystrokes.",
    ),
    _report(
        "user", "-u --user", "Users", "auid term host exe event", "auid", known="uid",
        about="Events by login user.",
    ),
    _report(
        "virt", "--virt", "Virtual machines", "type success event", "type", types=types.VIRT,
        about="Events of virtual machines.",
    ),
    _report(
        "executable", "-x --executable", "Programs", "exe term host auid event", "exe",
        known="exe", about="Events by program.",
    ),
)  # fmt: skip
BY_NAME: Final = {report.name: report for report in REPORTS}
