"""auditd's actions for the disk and mails: `[space]` and `[alert]`.

auditd has four moments (space_left, admin_space_left, full, error), here are two stages of the
log's disk and, behind them, the spool's reserve: when that is in use, ordinary records are
dropped and counted, and alerts are sent (docs/decisions/0019, 0028).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from auditsvc.adopt.plan_line import Verdict, as_toml

if TYPE_CHECKING:
    from pathlib import Path

    from auditsvc.adopt.auditd_conf import Conf, Entry
    from auditsvc.adopt.plan_line import Draft

_RESCUE: Final = ("/usr/bin/systemctl", "--no-block", "rescue")
_PERCENT: Final = re.compile(r"([1-9][0-9]?)%")
_STAGES: Final = {
    "space_left": ("space__warn", "space__warn_actions"),
    "admin_space_left": ("space__act", "space__act_actions"),
}
_WORDS: Final = {
    "ignore": (),
    "syslog": ("log",),
    "email": ("log",),
    "exec": ("log", "exec"),
    "rotate": ("log", "drop-loaded"),
    "suspend": ("log", "drop"),
    "single": ("log", "halt"),
    "halt": ("log", "halt"),
}
_ROOT: Final = "with packaging/root.conf: the service's user may not do it"
_FULL: Final = (
    "when the disk is full the spool's reserve (spool.reserve_bytes) is used: ordinary records "
    "are dropped, counted and told by [alert]"
)


class SpacePlan:
    """Adds the lines of one configuration to a draft."""

    def __init__(self, draft: Draft, conf: Conf, spool: Path) -> None:
        """`spool`: the folder whose disk is meant from now on; the nearest that exists counts."""
        self._draft = draft
        self._conf = conf
        self._megabytes = _size(spool) >> 20
        self._programs: dict[str, tuple[str, ...]] = {}

    def add(self) -> None:
        """Add all of them."""
        for name in ("space_left", "admin_space_left"):
            if name in self._conf.entries:
                self._threshold(name)
        self._in_order()
        for name in ("space_left_action", "admin_space_left_action"):
            if name in self._conf.entries:
                self._stage_action(self._conf.entries[name])
        for name in ("disk_full_action", "disk_error_action"):
            if name in self._conf.entries:
                self._disk_action(self._conf.entries[name])
        self._mail()

    def _in_order(self) -> None:
        """The first stage must not begin above the second."""
        settings = self._draft.settings
        warn, act = settings.get("space.warn", 75.0), settings.get("space.act", 95.0)
        if not (isinstance(warn, float) and isinstance(act, float) and warn > act):
            return
        if "space.act" in settings:
            settings["space.warn"] = act  # auditd refuses such a file
        else:
            settings["space.act"] = warn
            self._draft.origins["space.act"] = "space_left alone is given: both stages at once"

    def _threshold(self, name: str) -> None:
        entry, setting = self._conf.entries[name], _STAGES[name][0]
        found, number = _PERCENT.fullmatch(entry.value), self._conf.number(name)
        if found is not None:
            left = float(found[1])
        elif number is None:
            self._wrong(entry)
            return
        elif not 0 < number < self._megabytes:
            self._draft.leave(
                self._conf,
                name,
                Verdict.NONE,
                f"the log's disk has {self._megabytes} MiB; {setting.replace('__', '.')} keeps "
                "its default",
            )
            return
        else:
            left = 100 * number / self._megabytes
        used = round(min(max(100 - left, 0.01), 99.99), 2)
        self._draft.take(self._conf, name, "percent in use of the spool's disk", **{setting: used})

    def _stage_action(self, entry: Entry) -> None:
        setting = _STAGES[entry.name.removesuffix("_action")][1]
        words = _WORDS.get(entry.word)
        if words is None:
            self._wrong(entry)
            return
        more = ""
        if entry.word == "exec":
            if (program := self._program(entry, "space.exec", (entry.option,))) is not None:
                more = program
        elif entry.word == "single":
            more = self._program(entry, "space.halt", _RESCUE) or ""
        elif entry.word == "halt":
            more = self._program(entry, "space.halt", None) or ""
        elif entry.word == "suspend":
            more = (
                "auditd stops writing; here ordinary records are dropped and counted, and logins, "
                "execs and changes of audit are still written"
            )
        elif entry.word == "rotate":
            more = "segments that are in the store are deleted, none that is not"
        elif entry.word == "email":
            more = "the mail is sent by [alert]"
        self._draft.take(self._conf, entry.name, more, **{setting: words})

    def _program(self, entry: Entry, setting: str, command: tuple[str, ...] | None) -> str | None:
        """Set the program of an action; gives what is to be said of it."""
        if setting == "space.exec" and not entry.option.startswith("/"):
            self._programs[setting] = command or ()
            return f"`exec` needs a program with its full path, not {entry.option!r}"
        before = self._programs.get(setting)
        if setting in self._programs and before != command:
            kept = " ".join(before or ("poweroff",))
            return f"{setting} is one program for both stages and stays: {kept}"
        self._programs[setting] = command or ()
        if command is None:
            return f"space.halt is `systemctl poweroff`, {_ROOT}"
        self._draft.settings[setting] = command
        self._draft.origins[setting] = entry.text
        if setting == "space.exec":
            return (
                f"space.exec = {list(command)}: it gets the alert on its standard input, and need "
                "not have auditd resume; it runs at each change of the stage, also when there is "
                "room again (AUDITSVC_ALERT_STATE: warn, act, enough), as the service's user "
                "(root: packaging/root.conf)"
            )
        return f"space.halt = {list(command)}, {_ROOT}"

    def _disk_action(self, entry: Entry) -> None:
        is_error = entry.name == "disk_error_action"
        what = (
            "an error of the disk is logged, records that cannot be written are counted and told"
            " by [alert]"
            if is_error
            else _FULL
        )
        if entry.word in {"ignore", "syslog", "suspend", "rotate"}:
            verdict = Verdict.WRONG if is_error and entry.word == "rotate" else Verdict.SAME
            self._draft.leave(self._conf, entry.name, verdict, what)
        elif entry.word == "exec" and entry.option.startswith("/"):
            self._disk_program(entry, what)
        elif entry.word in {"single", "halt"}:
            self._draft.leave(self._conf, entry.name, *self._at_the_end(entry, what, is_error))
        else:
            self._wrong(entry)

    def _disk_program(self, entry: Entry, what: str) -> None:
        """Have the program run when records are lost, and not for what auditd never told."""
        settings, command = self._draft.settings, (entry.option,)
        before = settings.get("alert.exec", command)
        if before != command:
            self._draft.leave(
                self._conf,
                entry.name,
                Verdict.NONE,
                f"alert.exec is one program for both and stays: {as_toml(before)}; {what}",
            )
            return
        is_mailed = any(self._conf.word(f"{name}_action") == "email" for name in _STAGES)
        self._draft.take(
            self._conf,
            entry.name,
            "it runs when records are lost"
            + (" or a stage begins, as alert.on is for mails, too," if is_mailed else "")
            + " and when that is over (AUDITSVC_ALERT_STATE: begin, over); alert.on can name more"
            f" causes; {what}",
            alert__exec=command,
            alert__on=("lost", "space") if is_mailed else ("lost",),
        )

    def _at_the_end(self, entry: Entry, what: str, is_error: bool) -> tuple[Verdict, str]:
        """Say what comes instead of ending the host when the disk is full or broken."""
        stage = self._draft.settings.get("space.act_actions", ())
        if not is_error and isinstance(stage, tuple) and "halt" in stage:
            return Verdict.SAME, "the second stage (space.act) ends the host before that"
        instead = (
            'alert.exec = [a program that ends the host], alert.on = ["lost"]'
            if is_error
            else 'space.act_actions = ["log", "halt"] ends the host at space.act percent'
        )
        return Verdict.NONE, f"`{entry.word}`: {what}. To end the host: {instead}"

    def _mail(self) -> None:
        conf = self._conf
        mails = [
            name
            for name in ("space_left_action", "admin_space_left_action")
            if conf.word(name) == "email"
        ]
        account = conf.value("action_mail_acct", "root")
        if mails:
            self._draft.settings["alert.mail"] = (account,)
            self._draft.origins["alert.mail"] = f"{', '.join(mails)} = email"
        if "action_mail_acct" in conf.entries:
            if mails:
                self._draft.take(
                    conf,
                    "action_mail_acct",
                    "for all that alert.on names; /usr/sbin/sendmail must be there, and work "
                    "without network and new privileges (docs/decisions/0028)",
                    alert__mail=(account,),
                )
            else:
                self._draft.leave(
                    conf, "action_mail_acct", Verdict.SAME, "no action of auditd sends a mail"
                )

    def _wrong(self, entry: Entry) -> None:
        self._draft.leave(
            self._conf, entry.name, Verdict.WRONG, f"auditd does not know {entry.value!r} here"
        )


def _size(folder: Path) -> int:
    """Give the bytes of a folder's disk, or of the nearest folder above that exists."""
    for each in (folder, *folder.parents):
        try:
            disk = os.statvfs(each)
        except OSError:
            continue
        return disk.f_blocks * disk.f_frsize
    return 0
