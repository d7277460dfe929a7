"""Text of a rule file -> lines, each with its command.

The language is that of auditctl(8). An option's value may be part of the same word
(-kKEY, --name=VALUE), as getopt allows. Options that act at once (-l, -s, -m, -R,
--signal) are not allowed in a rule file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.errors import RuleError
from auditsvc.rule.build import RuleBuilder, list_and_action
from auditsvc.rule.commands import (
    Add,
    Command,
    Counter,
    Delete,
    DeleteAll,
    Line,
    MakeEquivalent,
    OnError,
    Reset,
    Set,
    Setting,
    Trim,
)
from auditsvc.rule.host import Host
from auditsvc.rule.values import SyntaxProblem, number
from auditsvc.rule.words import Word, nearest, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WITH_VALUE: Final = frozenset("aAdwWFCSkpefrbq") | {"--backlog_wait_time"}
_FLAGS: Final = {
    "-i",
    "-c",
    "-t",
    "-D",
    "--loginuid-immutable",
    "--reset-lost",
    "--reset_backlog_wait_time_actual",
}
_KNOWN: Final = sorted(
    _FLAGS | {option if len(option) > 1 else f"-{option}" for option in _WITH_VALUE}
)
_ELSEWHERE: Final = {"-l", "-s", "-m", "-R", "-v", "-h", "--signal"}

# option -> setting and its largest value
_SETTINGS: Final[dict[str, tuple[Setting, int]]] = {
    "-e": ("enabled", 2),
    "-f": ("failure", 2),
    "-r": ("rate_limit", 0xFFFFFFFF),
    "-b": ("backlog_limit", 0xFFFFFFFF),
    "--backlog_wait_time": ("backlog_wait_time", 0xFFFFFFFF),
}
_COUNTERS: Final[dict[str, Counter]] = {
    "--reset-lost": "lost",
    "--reset_backlog_wait_time_actual": "backlog_wait_time_actual",
}
_BEGIN: Final = ("-a", "-A", "-d", "-w", "-W")

Option = tuple[Word, Word | None]


def parse(
    text: str,
    filename: str = "<rules>",
    host: Host | None = None,
    errors: list[RuleError] | None = None,
) -> list[Line]:
    """Read a rule file's text; blank lines and comments give no Line.

    `host` is the machine that the rules are for, by default this one. The first wrong
    line raises RuleError (file, line, column, word, and what is allowed); with a list in
    `errors`, the errors of all wrong lines are appended there, and these lines left out.
    """
    host = host or Host.local()
    lines = []
    for count, line in enumerate(text.split("\n"), start=1):
        words = split(line.removesuffix("\r"))
        if not words:
            continue
        where = words[0]
        try:
            for where, step in _steps(words, host):  # noqa: B007 - kept for the error
                command = step()
        except SyntaxProblem as problem:
            error = RuleError(f"{filename}:{count}:{where.column}: {problem.what}", problem.hint)
            if errors is None:
                raise error from problem
            errors.append(error)
            continue
        if command is not None:
            lines.append(Line(filename, count, line.strip(), command))
    return lines


def _steps(words: list[Word], host: Host) -> Iterator[tuple[Word, Callable[[], Command | None]]]:
    """Give the steps that read one line, each with the word that it reads.

    The last step gives the command. A step is a function, so that the caller knows the
    word before an error can be raised.
    """
    line = _LineReader(host)
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        option, attached = _option(word)
        if option not in _FLAGS and attached is None and index < len(words):
            taken = option in _KNOWN
            attached = words[index] if taken else None
            index += taken
        yield attached or word, _bind(line.take, option, attached)
    yield words[0], line.command


def _bind(
    take: Callable[[str, Word | None], None], option: str, value: Word | None
) -> Callable[[], None]:
    return lambda: take(option, value)


def _option(word: Word) -> tuple[str, Word | None]:
    """Separate an option from a value in the same word."""
    if word.text.startswith("--"):
        name, equals, text = word.text.partition("=")
        return name, Word(text, word.column + len(name) + 1) if equals else None
    name, text = word.text[:2], word.text[2:]
    if text and name.startswith("-") and name[1:] in _WITH_VALUE:
        return name, Word(text, word.column + 2)
    return word.text, None


class _LineReader:
    """Reads the options of one line in their order."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._builder: RuleBuilder | None = None
        self._begun = ""
        self._command: Command | None = None

    def take(self, option: str, value: Word | None) -> None:
        """Read one option; SyntaxProblem if it is not allowed here."""
        if option in _ELSEWHERE:
            raise SyntaxProblem(f"option {option} is not allowed in a rule file")
        if option not in _KNOWN:
            what = "option" if option.startswith("-") else "word"
            raise SyntaxProblem(f"unknown {what} `{option}`", nearest(option, _KNOWN))
        if option in _FLAGS:
            if value is not None:
                raise SyntaxProblem(f"option {option} takes no value")
            self._flag(option)
        elif value is None:
            raise SyntaxProblem(f"option {option} needs a value")
        elif option in _BEGIN:
            self._begin(option, value.text)
        elif option in _SETTINGS:
            self._only(option, _setting(option, value.text))
        elif option == "-q":
            self._only(option, _equivalent(value.text))
        elif option == "-k" and isinstance(self._command, DeleteAll):
            self._command = DeleteAll(value.text)
        else:
            self._part(option, value.text)

    def command(self) -> Command | None:
        """Give the command of the line."""
        if self._builder is None:
            return self._command
        rule = self._builder.rule()
        if self._begun in ("-d", "-W"):
            return Delete(rule)
        return Add(rule, prepend=self._begun == "-A")

    def _flag(self, option: str) -> None:
        match option:
            case "-D":
                self._only(option, DeleteAll())
            case "-t":
                self._only(option, Trim())
            case "-i":
                self._only(option, OnError("ignore"))
            case "-c":
                self._only(option, OnError("continue"))
            case "--loginuid-immutable":
                self._only(option, Set("loginuid_immutable", 1))
            case _:
                self._only(option, Reset(_COUNTERS[option]))

    def _only(self, option: str, command: Command) -> None:
        if self._builder is not None or self._command is not None:
            raise SyntaxProblem(
                f"option {option} must be alone on its line", "put it on a line of its own"
            )
        self._command = command

    def _begin(self, option: str, text: str) -> None:
        if self._builder is not None or self._command is not None:
            raise SyntaxProblem(
                f"option {option} begins a second rule", "put each rule on a line of its own"
            )
        self._begun = option
        if option in ("-w", "-W"):
            self._builder = RuleBuilder.watch(self._host, text)
        else:
            self._builder = RuleBuilder(self._host, *list_and_action(text))

    def _part(self, option: str, text: str) -> None:
        if self._builder is None:
            raise SyntaxProblem(
                f"option {option} comes before its rule", "begin with -a, -A, -d, -w or -W"
            )
        steps = {
            "-F": self._builder.condition,
            "-C": self._builder.compare,
            "-S": self._builder.calls,
            "-p": self._builder.perms,
            "-k": self._builder.key,
        }
        steps[option](text)


def _setting(option: str, text: str) -> Set:
    name, largest = _SETTINGS[option]
    found = number(text)
    if found is None or found > largest:
        raise SyntaxProblem(f"option {option} cannot be `{text}`", f"it takes 0 to {largest}")
    return Set(name, found)


def _equivalent(text: str) -> MakeEquivalent:
    match text.split(","):
        case [mount, subtree] if mount and subtree:
            return MakeEquivalent(mount, subtree)
    raise SyntaxProblem(f"`{text}` is not MOUNT,SUBTREE")
