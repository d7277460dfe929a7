"""What becomes of auditd's rules: they stay where they are, and the setting `rules` names them.

augenrules(8) merges rules.d into audit.rules: files in the order of `ls -v`, the last `-D` first,
the last `-b`, the last `-f`, all other lines, the last `-e`. `auditsvc.rule.files` reads a folder
in that order, and the last value of a setting counts (`auditsvc.ruleset.wanted`), so the folder
itself is read, and whoever changes it goes on doing so. Without a file in rules.d, audit.rules
counts, as for augenrules.

`run` adds rules and changes no setting but the backlog limit. If there are lines that change more
(-f, -r, -e 2 ...), the unit's drop-in loads them after the start, as auditd.service has augenrules
do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.adopt.plan_line import Verdict
from auditsvc.config import KernelSettings
from auditsvc.errors import AuditsvcError, RuleError
from auditsvc.plural import counted
from auditsvc.rule import Add, Delete, DeleteAll, OnError, Set, read
from auditsvc.rule.files import SUFFIX
from auditsvc.ruleset.controls import missing_folder

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from auditsvc.adopt.plan_line import Draft
    from auditsvc.rule import Line, Rule

_AS_BOOTED: Final = {("failure", 1), ("enabled", 1), ("rate_limit", 0)}
"""Settings that the kernel has without a line."""


def source_of(folder: Path) -> Path | None:
    """Give where the rules are: rules.d, or audit.rules; None if there are none."""
    rules, merged = folder / "rules.d", folder / "audit.rules"
    try:
        if any(each.suffix == SUFFIX and not each.is_dir() for each in rules.iterdir()):
            return rules
    except FileNotFoundError:
        pass
    except OSError as error:
        raise AuditsvcError(f"{rules}: {error.strerror}", "run as root") from error
    return merged if merged.exists() else None


class RulePlan:
    """Adds the lines of one source to a draft."""

    def __init__(self, draft: Draft, loaded: Collection[Rule]) -> None:
        """`loaded`: the kernel's rules now."""
        self.needs_load = False
        """Whether there are lines that `run` leaves out and `rules load` runs."""
        self.blockers: list[str] = []
        """Lines with which `run` would not start."""
        self._draft = draft
        self._loaded = loaded
        self._files: dict[str, int] = {}
        self._rules: set[Rule] = set()

    def add(self, source: Path | None) -> None:
        """Read the source, and add its lines."""
        if source is None:
            self._draft.settings["rules"] = ()
            self._draft.origins["rules"] = "auditd has no rules"
            self._draft.say("rules", "no rule file", Verdict.TAKEN, "rules = []")
            self._say_loaded()
            return
        errors: list[RuleError] = []
        lines = read(source, errors=errors)
        is_lenient = any(isinstance(line.command, OnError) for line in lines)
        last = {line.command.name: line for line in lines if isinstance(line.command, Set)}
        for line in lines:
            if isinstance(line.command, Set) and last[line.command.name] is not line:
                where = f"{line.filename}:{line.number}"
                self._draft.say(where, line.text, Verdict.SAME, "a later line counts")
            else:
                self._line(line, is_lenient=is_lenient)
        for name, count in self._files.items():
            self._draft.say(name, counted(count, "rule"), Verdict.TAKEN, f'rules = ["{source}"]')
        for error in errors:
            self._draft.say(str(source), str(error), Verdict.WRONG, "correct or delete the line")
            self.blockers.append(str(error))
        self._draft.settings["rules"] = (str(source),)
        self._draft.origins["rules"] = "auditd's rules, in augenrules' order"
        self._say_loaded()

    def _line(self, line: Line, *, is_lenient: bool) -> None:
        where = f"{line.filename}:{line.number}"
        match line.command:
            case Add(rule):
                self._files[line.filename] = self._files.get(line.filename, 0) + 1
                self._rules.add(rule)
                lacking = missing_folder(rule)
                if lacking and rule not in self._loaded:
                    self._missing(where, line.text, str(lacking), is_lenient=is_lenient)
            case Set("backlog_limit", value):
                least = KernelSettings().backlog_limit
                if value > least:
                    self._draft.settings["kernel.backlog_limit"] = value
                    self._draft.origins["kernel.backlog_limit"] = f"{line.text} ({where})"
                    becomes = f"kernel.backlog_limit = {value}"
                    self._draft.say(where, line.text, Verdict.TAKEN, becomes)
                else:
                    becomes = f"kernel.backlog_limit is {least}, which is more"
                    self._draft.say(where, line.text, Verdict.SAME, becomes)
            case Set("enabled", 0):
                becomes = "`run` switches audit on; `auditsvc off` switches it off"
                self._draft.say(where, line.text, Verdict.NONE, becomes)
            case Set(name, value) if (name, value) in _AS_BOOTED:
                self._draft.say(where, line.text, Verdict.SAME, "as the kernel has it, or `run`")
            case DeleteAll() | Delete():
                becomes = "`run` deletes no rule that it did not add; reboot to begin without"
                self._draft.say(where, line.text, Verdict.SAME, becomes)
            case OnError():
                becomes = "rules for folders that do not exist are left out"
                self._draft.say(where, line.text, Verdict.SAME, becomes)
            case _:
                self.needs_load = True
                becomes = "`auditsvc rules load` after each start (drop-in of the unit)"
                self._draft.say(where, line.text, Verdict.TAKEN, becomes)

    def _missing(self, where: str, text: str, lacking: str, *, is_lenient: bool) -> None:
        what = f"{lacking} does not exist"
        if is_lenient:
            self._draft.say(where, text, Verdict.NONE, f"left out: {what}")
        else:
            self._draft.say(where, text, Verdict.WRONG, f"{what}: the kernel refuses the rule")
            self.blockers.append(f"{where}: {what}")

    def _say_loaded(self) -> None:
        """Compare with the kernel: rules may have been loaded by hand, or not at all."""
        others = sum(rule not in self._rules for rule in self._loaded)
        absent = sum(rule not in self._loaded for rule in self._rules)
        if others:
            self._draft.say(
                "kernel",
                f"{counted(others, 'loaded rule')} in no file",
                Verdict.SAME,
                "stay loaded until the next boot (`auditsvc rules list`)",
            )
        if absent and self._loaded:
            self._draft.say(
                "kernel",
                f"{counted(absent, 'rule')} of the files not loaded now",
                Verdict.TAKEN,
                "loaded while auditsvc runs",
            )
