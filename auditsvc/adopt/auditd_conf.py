"""auditd.conf and the configuration files of auditd's plugins, as auditd 3.0 reads them.

    read_conf(path)    -> Conf: each keyword with its value and line; what is unknown is a problem
    read_plugins(dir)  -> the plugins that are active

A line is `keyword = value [option]`; keywords and values are case insensitive. A line of 160 bytes
or more is skipped (auditd.conf(5); get_line and nv_split in auditd-config.c). auditd refuses to
start with an unknown keyword; here it is named with its line, and the rest is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditsvc.errors import AuditsvcError
from auditsvc.host.files import read_file

if TYPE_CHECKING:
    from pathlib import Path

NETWORK: Final = (
    "tcp_listen_queue",
    "tcp_max_per_addr",
    "use_libwrap",
    "tcp_client_ports",
    "tcp_client_max_idle",
    "transport",
    "enable_krb5",
    "krb5_principal",
    "krb5_key_file",
    "distribute_network",
)
"""Keywords that have an effect with `tcp_listen_port` alone."""
QUEUE: Final = ("q_depth", "overflow_action", "max_restarts")
"""Keywords of the queue for plugins."""
KEYWORDS: Final = (
    "local_events",
    "log_file",
    "write_logs",
    "log_format",
    "log_group",
    "priority_boost",
    "flush",
    "freq",
    "num_logs",
    "name_format",
    "name",
    "max_log_file",
    "max_log_file_action",
    "verify_email",
    "action_mail_acct",
    "space_left",
    "space_left_action",
    "admin_space_left",
    "admin_space_left_action",
    "disk_full_action",
    "disk_error_action",
    "tcp_listen_port",
    *NETWORK,
    *QUEUE,
    "plugin_dir",
    "end_of_event_timeout",
)
"""All keywords of auditd.conf(5) in Debian 12, in its order."""

_MOST: Final = 1 << 20
_LONGEST: Final = 159
_LINE: Final = re.compile(r"([^\s=]+)\s*=\s*(\S+)(?:\s+(.*))?")
_PLUGIN_KEYWORDS: Final = ("active", "direction", "path", "type", "args", "format")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: `value` as written, `option` what follows it (the program of `exec`)."""

    name: str
    value: str
    option: str
    number: int

    @property
    def word(self) -> str:
        """The value in lower case."""
        return self.value.lower()

    @property
    def text(self) -> str:
        """The line, with single blanks."""
        return f"{self.name} = {self.value}" + (f" {self.option}" if self.option else "")


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that auditd does not understand either."""

    number: int
    text: str
    why: str


@dataclass(slots=True)
class Conf:
    """A file; of a keyword that stands there twice, the last line counts."""

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def word(self, name: str, default: str = "") -> str:
        """Give a value in lower case."""
        return self.entries[name].word if name in self.entries else default

    def value(self, name: str, default: str = "") -> str:
        """Give a value as written."""
        return self.entries[name].value if name in self.entries else default

    def number(self, name: str) -> int | None:
        """Give a whole number; None if it is not there or none."""
        value = self.value(name)
        return int(value) if value.isascii() and value.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Plugin:
    """An active plugin."""

    conf: Conf

    @property
    def program(self) -> str:
        """Its program's name, without folder."""
        return self.conf.value("path").rpartition("/")[2]

    @property
    def where(self) -> str:
        """FILE:LINE of its program."""
        entry = self.conf.entries.get("path")
        return f"{self.conf.path}:{entry.number if entry else 1}"


def read_conf(path: Path, keywords: tuple[str, ...] = KEYWORDS) -> Conf:
    """Read a file; AuditsvcError if it cannot be read or another user may change it."""
    try:
        text = read_file(path, _MOST).decode(errors="replace")
    except OSError as error:
        raise AuditsvcError(
            f"{path}: {error.strerror}", "run as root; --from names the folder of auditd.conf"
        ) from error
    conf = Conf(path)
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if len(raw.encode()) > _LONGEST:
            why = "longer than 159 bytes: auditd skips it"
        elif (found := _LINE.fullmatch(line)) is None:
            why = "not `keyword = value`"
        elif found[1].lower() not in keywords:
            why = f"unknown keyword {found[1]}"
        else:
            name = found[1].lower()
            conf.entries[name] = Entry(name, found[2], (found[3] or "").strip(), number)
            continue
        conf.problems.append(Problem(number, line[:_LONGEST], why))
    return conf


def read_plugins(folder: Path) -> tuple[list[Plugin], list[Conf]]:
    """Read the active plugins of a folder, by name; also every file, for its problems.

    A name with more than one dot is a backup copy for auditd (auditd-plugins(5)). A folder that
    is not there has none.
    """
    try:
        names = sorted(each.name for each in folder.iterdir() if each.is_file())
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise AuditsvcError(f"{folder}: {error.strerror}", "run as root") from error
    files = [read_conf(folder / each, _PLUGIN_KEYWORDS) for each in names if each.count(".") == 1]
    return [Plugin(each) for each in files if each.word("active") == "yes"], files
