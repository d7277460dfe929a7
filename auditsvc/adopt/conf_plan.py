"""What becomes of auditd.conf: every keyword has a line in the plan."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Final

from auditsvc.adopt.auditd_conf import NETWORK, QUEUE
from auditsvc.adopt.plan_line import Verdict
from auditsvc.adopt.space_plan import SpacePlan
from auditsvc.config.sections import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditsvc.adopt.auditd_conf import Conf
    from auditsvc.adopt.plan_line import Draft, Value

_FSYNC: Final = {
    "none": "none",
    "incremental": "second",
    "incremental_async": "second",
    "data": "batch",
    "sync": "batch",
}
_KEEP_BYTES: Final = 1 << 30
_NODE: Final = re.compile(rb"node=([^\s]+) type=")
_TAIL: Final = 64 << 10


def add_conf(draft: Draft, conf: Conf, spool: Path, log: Path) -> None:
    """Add a line for each keyword; `log`: auditd's log, whose node names are taken."""
    _Keywords(draft, conf, log).add()
    SpacePlan(draft, conf, spool).add()
    for problem in conf.problems:
        draft.say(
            f"{conf.path}:{problem.number}", problem.text, Verdict.WRONG, f"{problem.why}; ignored"
        )


class _Keywords:
    def __init__(self, draft: Draft, conf: Conf, log: Path) -> None:
        self._draft = draft
        self._conf = conf
        self._log = log

    def add(self) -> None:
        """Add those that are not of disk and mail."""
        alone: dict[str, Callable[[str], None]] = {
            "local_events": self._local_events,
            "log_file": self._log_file,
            "write_logs": self._write_logs,
            "log_format": self._log_format,
            "log_group": self._log_group,
            "flush": self._flush,
            "max_log_file": self._max_log_file,
            "max_log_file_action": self._max_log_file_action,
            "name_format": self._name_format,
            "tcp_listen_port": self._tcp_listen_port,
            "end_of_event_timeout": self._end_of_event_timeout,
        }
        told = {
            "priority_boost": (Verdict.SAME, "the unit has CPUWeight=500 and OOMScoreAdjust=-900"),
            "freq": (Verdict.SAME, "see flush: once a second, or with each batch"),
            "num_logs": (Verdict.SAME, "see max_log_file_action"),
            "name": (Verdict.SAME, "see name_format"),
            "verify_email": (Verdict.SAME, "addresses are given to sendmail as they are"),
            "plugin_dir": (Verdict.SAME, "its plugins have lines of their own"),
        }
        for name in self._conf.entries:
            if name in alone:
                alone[name](name)
            elif name in NETWORK:
                self._network(name)
            elif name in QUEUE:
                self._leave(name, Verdict.SAME, "there are no plugins that could fall behind")
            elif name in told:
                self._leave(name, *told[name])

    def _take(self, name: str, becomes: str = "", **settings: Value) -> None:
        self._draft.take(self._conf, name, becomes, **settings)

    def _leave(self, name: str, verdict: Verdict, becomes: str) -> None:
        self._draft.leave(self._conf, name, verdict, becomes)

    def _wrong(self, name: str) -> None:
        value = self._conf.value(name)
        self._leave(name, Verdict.WRONG, f"auditd does not know {value!r} here")

    def _is_yes(self, name: str) -> bool | None:
        """Give a yes or no; None, and a line, for anything else."""
        match self._conf.word(name):
            case "yes":
                return True
            case "no":
                return False
        self._wrong(name)
        return None

    def _local_events(self, name: str) -> None:
        if (is_yes := self._is_yes(name)) is None:
            return
        if is_yes:
            self._take(name, "this host's kernel", source="netlink")
        else:
            self._leave(
                name,
                Verdict.NONE,
                "auditd collects other hosts' records alone; auditsvc collects this host's",
            )

    def _log_file(self, name: str) -> None:
        self._leave(
            name,
            Verdict.TAKEN,
            "it and its rotations are loaded into the store, and stay; from now on the log is the "
            "spool, in the same format",
        )

    def _write_logs(self, name: str) -> None:
        if (is_yes := self._is_yes(name)) is None:
            return
        if is_yes:
            self._leave(name, Verdict.SAME, "the spool is always written")
        else:
            self._leave(
                name,
                Verdict.NONE,
                "the spool is always written; spool.keep_bytes = 0 deletes what is in the store",
            )

    def _log_group(self, name: str) -> None:
        if (group := self._conf.value(name)) in ("root", "0"):
            self._leave(name, Verdict.SAME, "nobody else reads spool and store")
            return
        self._leave(
            name,
            Verdict.NONE,
            f'nobody else reads the spool; with access.readers = "{group}" that group may read an '
            "SQLite store; for PostgreSQL see packaging/postgres-roles.sql",
        )

    def _log_format(self, name: str) -> None:
        match self._conf.word(name):
            case "raw":
                self._leave(name, Verdict.SAME, "the spool is as the kernel sends it")
            case "enriched":
                self._leave(
                    name,
                    Verdict.TAKEN,
                    "names of users and groups are kept as they were at the time (columns "
                    "*_name, view `names`); the spool is as the kernel sends it",
                )
            case "nolog":
                self._leave(name, Verdict.NONE, "the spool is always written")
            case _:
                self._wrong(name)

    def _flush(self, name: str) -> None:
        fsync = _FSYNC.get(self._conf.word(name))
        if fsync is None:
            self._wrong(name)
        else:
            self._take(name, spool__fsync=fsync)

    def _max_log_file(self, name: str) -> None:
        if not (number := self._conf.number(name)):
            self._wrong(name)
        else:
            self._take(name, "the size of a segment", spool__segment_bytes=number << 20)

    def _max_log_file_action(self, name: str) -> None:
        size, logs = self._conf.number("max_log_file") or 0, self._conf.number("num_logs") or 0
        word = self._conf.word(name)
        rows = "; rows stay in the store for ever, unless retention.keep says how long"
        if word == "rotate" and logs >= 2:
            kept = size * logs << 20
            more = f"auditd keeps {size * logs} MiB{rows}"
            self._take(name, more, spool__keep_bytes=max(kept, _KEEP_BYTES))
        elif word in {"rotate", "keep_logs", "ignore", "syslog"}:
            self._take(name, f"no log is deleted{rows}", spool__keep_bytes=MOST_BYTES)
        elif word == "suspend":
            self._leave(
                name,
                Verdict.NONE,
                "writing does not stop at a size; spool.limit_bytes is the most that the spool "
                "takes, and then ordinary records are dropped and counted",
            )
        else:
            self._wrong(name)

    def _name_format(self, name: str) -> None:
        word = self._conf.word(name)
        if word not in {"none", "hostname", "fqd", "numeric", "user"}:
            self._wrong(name)
            return
        if word == "none":
            self._leave(name, Verdict.SAME, f"the column host is {socket.gethostname()}")
            return
        node = _node_of(self._log)
        host = node or {"user": self._conf.value("name")}.get(word, "") or socket.gethostname()
        why = "as in its log" if node else "its log has no record that names another"
        self._take(name, why, host=host)

    def _tcp_listen_port(self, name: str) -> None:
        self._leave(
            name,
            Verdict.NONE,
            "auditsvc receives nothing from a network: give the other hosts a store in the same "
            "PostgreSQL database (packaging/README.md), or keep auditd as their collector with "
            "local_events = no and read its log with `auditsvc run --source FILE`",
        )

    def _network(self, name: str) -> None:
        is_used = "tcp_listen_port" in self._conf.entries
        verdict = Verdict.NONE if is_used else Verdict.SAME
        becomes = "see tcp_listen_port" if is_used else "not in use: there is no tcp_listen_port"
        self._leave(name, verdict, becomes)

    def _end_of_event_timeout(self, name: str) -> None:
        if not (number := self._conf.number(name)):
            self._leave(name, Verdict.NONE, "loader.idle must be more than 0 seconds")
        else:
            self._take(name, loader__idle=float(number))


def _node_of(log: Path) -> str:
    """Give the node= of the last record of a log; "" if it has none."""
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _TAIL))
            found = _NODE.findall(stream.read(_TAIL))
    except OSError:
        return ""
    return found[-1].decode(errors="replace") if found else ""
