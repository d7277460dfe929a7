"""Rule sets: the shipped ones by name, and the controls that each rule serves.

A set is a rule file in auditctl's language. Two kinds of comments give the purpose of
the rules, by paragraph (a blank line ends a paragraph):

    #: PCI-DSS-4.0 10.6.3 | Time settings are protected
    # A note for people.
    #= -e 2
    -w /etc/localtime -p wa -k pci-10.6.3

`#:` names a control: its framework, its id there, and its title. Several `#:` lines in a
row are several controls that the same rules serve; a control may be in several
paragraphs. `#=` is a kernel setting that the control requires and that the set does not
make. For auditctl both are comments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.errors import RuleError
from auditsvc.rule import Add, Set, parse
from auditsvc.rule.host import exists
from auditsvc.rule.words import nearest
from auditsvc.ruleset.watched_paths import missing_path

if TYPE_CHECKING:
    from auditsvc.rule import Host, Line, Rule

SUFFIX: Final = ".rules"
DEFAULT: Final = "10-all-syscalls"
"""The set that `auditsvc run` loads by default."""

_ORDER: Final = re.compile(r"[0-9]+-")
_CONTROL: Final = re.compile(r"#:[ \t]+(\S+)[ \t]+(\S+)[ \t]+\|[ \t]+(\S.*)")
_FORM: Final = "write `#: FRAMEWORK ID | TITLE`"


def _shipped() -> dict[str, Path]:
    folder = Path(str(files("auditsvc.rules")))
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def names() -> list[str]:
    """Names of the shipped sets: their file names without .rules."""
    return list(_shipped())


def default() -> Path:
    """Give the set for every system call of every task, never a path of the same name."""
    return _shipped()[DEFAULT]


def find(name_or_path: str | Path) -> Path:
    """Give the rule file or folder of a name: a path that exists, else a shipped set.

    The name of a set may be given without its number (`10-all-syscalls`, `all-syscalls`).
    RuleError lists the sets, and the most similar name.
    """
    path = Path(name_or_path)
    if exists(str(path)) is not False:  # without permission, reading it fails later
        return path
    word = str(name_or_path)
    sets = _shipped()
    known = {_ORDER.sub("", name, count=1): file for name, file in sets.items()} | sets
    if word in known:
        return known[word]
    hint = nearest(word.removesuffix(SUFFIX), known)
    raise RuleError(
        f"rules {word}: no such file or folder, and no set with this name",
        f"{hint} the sets are {', '.join(sets)}".strip(),
    )


def missing_folder(rule: Rule) -> Path | None:
    """Give the folder that a rule needs and that does not exist here (the kernel's ENOENT)."""
    found = missing_path(rule)
    return None if found is None else Path(found)


@dataclass(frozen=True, slots=True)
class Control:
    """A control, with the rules and settings that a set has for it.

    `framework` is empty for rules without a control; `id` is then their key.
    """

    framework: str
    id: str
    title: str
    lines: tuple[Line, ...] = ()
    """The lines that add a rule."""
    settings: tuple[Set, ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        """Framework and id."""
        return f"{self.framework} {self.id}".strip()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that serve it, in the set's order."""
        return tuple(line.command.rule for line in self.lines if isinstance(line.command, Add))


@dataclass
class _Open:
    title: str
    lines: list[Line] = field(default_factory=list)
    settings: list[Set] = field(default_factory=list)
    note: list[str] = field(default_factory=list)


def controls(text: str, filename: str = "<rules>", host: Host | None = None) -> list[Control]:
    """Read a set's text: gives its controls in the order of their first lines.

    Every rule is in at least one. RuleError for a wrong line, for `#:` or `#=` without
    a control or setting, and for a control with two titles.
    """
    lines = {line.number: line for line in parse(text, filename, host)}
    found: dict[tuple[str, str], _Open] = {}
    paragraph: list[_Open] = []
    naming = False
    for number, raw in enumerate(text.split("\n"), start=1):
        words = raw.strip()
        where = f"{filename}:{number}:1"
        is_name = words.startswith(("#: ", "#:\t"))
        if is_name:
            paragraph = paragraph if naming else []
            paragraph.append(_named(found, words, where))
        elif words.startswith(("#= ", "#=\t")):
            setting = _setting(words, where, host, paragraph)
            for each in paragraph:
                each.settings.append(setting)
        elif words.startswith("#"):
            for each in paragraph:
                each.note.append(words.lstrip("# \t"))
        elif not words:
            paragraph = []
        elif number in lines:
            _take(lines[number], found, paragraph)
        naming = is_name
    return [
        Control(*name, each.title, tuple(each.lines), tuple(each.settings), _joined(each.note))
        for name, each in found.items()
    ]


def _named(found: dict[tuple[str, str], _Open], words: str, where: str) -> _Open:
    match = _CONTROL.fullmatch(words)
    if match is None:
        raise RuleError(f"{where}: `{words}` names no control", _FORM)
    framework, control, title = match.groups()
    known = found.setdefault((framework, control), _Open(title))
    if known.title != title:
        raise RuleError(
            f"{where}: {framework} {control} has the title `{known.title}` above", "use one title"
        )
    return known


def _setting(words: str, where: str, host: Host | None, paragraph: list[_Open]) -> Set:
    if not paragraph:
        raise RuleError(f"{where}: `{words}` belongs to no control", _FORM + " above it")
    match parse(words.removeprefix("#="), where, host):
        case [line] if isinstance(line.command, Set):
            return line.command
    raise RuleError(f"{where}: `{words}` is not a setting", "write for example `#= -e 2`")


def _take(line: Line, found: dict[tuple[str, str], _Open], paragraph: list[_Open]) -> None:
    command = line.command
    if isinstance(command, Add):
        key = " ".join(command.rule.keys) or "(no key)"
        for each in paragraph or [found.setdefault(("", key), _Open("rules without a control"))]:
            each.lines.append(line)
    elif isinstance(command, Set):
        for each in paragraph:
            each.settings.append(command)


def _joined(words: list[str]) -> str:
    return " ".join(word for word in words if word)
