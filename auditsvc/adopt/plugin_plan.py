"""What becomes of auditd's plugins: each active one has a line in the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.adopt.plan_line import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditsvc.adopt.auditd_conf import Conf, Plugin
    from auditsvc.adopt.plan_line import Draft

_SYSLOG: Final = ("audisp-syslog", "builtin_syslog")
_EVENTS: Final = "`auditsvc search --checkpoint NAME --format jsonl` gives each new event once"
_READERS: Final = (
    f"for programs that read its socket: {_EVENTS}; the spool's segments are an ordinary audit log"
)
_INSTEAD: Final = {
    "audisp-remote": (
        "a store in PostgreSQL on the other host takes this host's rows (packaging/README.md); "
        "the log's heads go elsewhere by evidence.syslog, evidence.http or evidence.file"
    ),
    "au-remote": "see audisp-remote",
    "audispd-zos-remote": "a store in PostgreSQL that the other host can read",
    "builtin_af_unix": _READERS,
    "audisp-af_unix": _READERS,
    "audisp-filter": "[forward] chooses by key, call, outcome, user and program",
    "audisp-statsd": "[metrics] has the figures for Prometheus",
    "audisp-ids": "`auditsvc report daily`, [alert] and SQL over the store",
    "laurel": _EVENTS,
    "audisp-laurel": _EVENTS,
    "auditd-plugin-clickhouse": "the store answers SQL; `auditsvc query --format parquet` exports",
    "setroubleshoot": "the view `denials`",
    "sedispatch": "the view `denials`",
}
_ELSE: Final = (
    f"what it does ends with auditd: {_EVENTS}; the spool's segments are an ordinary audit log;"
    " [alert] and [forward] tell others"
)


def add_plugins(draft: Draft, plugins: Iterable[Plugin], files: Iterable[Conf]) -> None:
    """Add a line for each active plugin, and for what is wrong in any file."""
    for each in plugins:
        program = each.program
        said = f"plugin {program or '?'}"
        if program in _SYSLOG:
            draft.settings |= {"forward.enabled": True, "forward.keyed": False}
            draft.settings |= {"forward.exclude_keys": (), "forward.types": ("*",)}
            for name in ("enabled", "keyed", "exclude_keys", "types"):
                draft.origins[f"forward.{name}"] = f"{said} ({each.where})"
            draft.say(
                each.where,
                said,
                Verdict.TAKEN,
                "forward.enabled = true: whole events, each once, to the systemd journal; "
                "[forward] chooses fewer",
            )
        elif program == "auditsvc":
            draft.say(each.where, said, Verdict.SAME, "it ends with auditd; auditsvc is the daemon")
        else:
            draft.say(each.where, said, Verdict.NONE, _INSTEAD.get(program, _ELSE))
    for conf in files:
        for problem in conf.problems:
            where = f"{conf.path}:{problem.number}"
            draft.say(where, problem.text, Verdict.WRONG, f"{problem.why}; ignored")
