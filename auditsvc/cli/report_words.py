"""aureport's way to ask: one-dash options of several letters, and times of two words.

Each report's options (`-au`, `--auth`) become the argument NAME, and the one or two words after
`-ts` and `-te` one value, before the command line is parsed. The options that say how aureport
reads a log have no effect here: the store has been loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.cli.options import Command
from auditsvc.errors import UsageError
from auditsvc.report.catalogue import BY_NAME, REPORTS
from auditsvc.store.read.ausearch_times import is_word

if TYPE_CHECKING:
    from typer._click import Context

_NAMES: Final = {option: report.name for report in REPORTS for option in report.options}
_TIMES: Final = {"-ts": "--start", "--start": "--start", "-te": "--end", "--end": "--end"}
_IGNORED: Final = ("--input-logs", "--debug")
_IGNORED_WITH_VALUE: Final = ("--escape", "--eoe-timeout")
_WITH_VALUE: Final = (
    *("--store", "--format", "--since", "--until", "--by", "--node", "--auid", "--timeout"),
    *("-if", "--input", "--days", "--output"),
)


class ReportCommand(Command):
    """A command that takes aureport's options."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse a command line."""
        return super().parse_args(ctx, plain(args))


def plain(args: list[str]) -> list[str]:
    """Give a command line in this program's own way; UsageError for two reports in one."""
    found: list[str] = []
    names: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word in _NAMES:
            names.append(_NAMES[word])
        elif word in _TIMES:
            found += [_TIMES[word], _time(word, rest)]
        elif word in _IGNORED_WITH_VALUE:
            del rest[:1]
        elif word in _WITH_VALUE:
            found += [word, *rest[:1]]
            del rest[:1]
        elif word not in _IGNORED:
            found.append(word)
    if len(names) > 1:
        raise UsageError(
            f"two reports at once: {' and '.join(names[:2])}", "ask for one, then for the other"
        )
    return [*names, *found]


def _time(option: str, rest: list[str]) -> str:
    """Take the words of a time from the command line."""
    if not rest:
        raise UsageError(f"{option} needs a time", "give a date, a time, both, or a word: today")
    words = [rest.pop(0)]
    if rest and is_word(words[0]) and is_word(rest[0]):
        words.append(rest.pop(0))
    return " ".join(words)


def listing() -> str:
    """Give the reports, a line each."""
    width = max(len(", ".join(report.options)) for report in BY_NAME.values())
    return "\n".join(f"  {', '.join(report.options):{width}}  {report.about}" for report in REPORTS)
