"""Every command with its arguments and options, from the typer functions that `--help` shows.

    typer's command -> [Command(words, summary, text, arguments, options)] -> Markdown

Texts, names and values are those of `--help`: no option can be documented otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHOICES: Final = re.compile(r"<([a-z0-9_-]+(?:\|[a-z0-9_-]+)+)>")
STATUS: Final = """\
0: done. 1: failed, or what was looked for is not there. 2: wrong usage. 3 (only `auditsvc status`):
the service is not running. An error is one line on standard error that says what is wrong and
what to do."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument or an option of a command."""

    names: tuple[str, ...]
    """The spellings of an option; empty for an argument."""
    metavar: str
    """What its value is called; empty for a flag."""
    choices: tuple[str, ...]
    help: str
    required: bool

    @property
    def shown(self) -> str:
        """Its spellings with the value, as in `--help`."""
        return " ".join(part for part in (", ".join(self.names), self.metavar) if part)


@dataclass(frozen=True, slots=True)
class Command:
    """A command or a group of commands."""

    words: tuple[str, ...]
    """Without `auditsvc`, which has none."""
    summary: str
    text: str
    arguments: tuple[Parameter, ...]
    options: tuple[Parameter, ...]
    verbs: tuple[str, ...] = ()
    """Names of a group's commands."""

    @property
    def name(self) -> str:
        """The name of its page: `auditsvc-rules-check`."""
        return "-".join(("auditsvc", *self.words))

    @property
    def synopsis(self) -> str:
        """One line: how it is called."""
        parts = ["auditsvc", *self.words]
        parts += ["[OPTIONS]"] if self.options else []
        parts += [each.metavar if each.required else f"[{each.metavar}]" for each in self.arguments]
        return " ".join(parts + (["COMMAND ..."] if self.verbs else []))


def list_commands(root: Any, context: Any) -> list[Command]:
    """Give the root and all its commands; both are objects of typer's parser."""
    return list(_walk(root, context, ()))


def _walk(command: Any, context: Any, words: tuple[str, ...]) -> Iterator[Command]:
    verbs = dict(getattr(command, "commands", {}))
    arguments: list[Parameter] = []
    options: list[Parameter] = []
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            made = _parameter(parameter, *record)
            (options if made.names else arguments).append(made)
    text = "\n\n".join(part for part in (command.help, command.epilog) if part)
    yield Command(
        words,
        (command.short_help or text.partition("\n")[0]).strip().rstrip("."),
        text.strip(),
        tuple(arguments),
        tuple(options),
        tuple(verbs),
    )
    for name, verb in verbs.items():
        yield from _walk(verb, context, (*words, name))


def _parameter(parameter: Any, shown: str, help_: str) -> Parameter:
    is_option = parameter.param_type_name == "option"
    spelled, _, value = shown.partition(" ") if not is_option else _split(shown)
    found = _CHOICES.search(shown)
    metavar = value or parameter.metavar or "" if is_option else parameter.metavar or spelled
    return Parameter(
        names=tuple(parameter.opts) if is_option else (),
        metavar=metavar,
        choices=tuple(found[1].split("|")) if found else _listed(metavar),
        help=" ".join(help_.split()),
        required=bool(parameter.required),
    )


def _split(shown: str) -> tuple[str, str, str]:
    """Split `-a, --event N` into its spellings and its value."""
    words = shown.split(" ")
    names = [word for word in words if word.startswith("-")]
    return " ".join(names), " ", " ".join(word for word in words if not word.startswith("-"))


def _listed(metavar: str) -> tuple[str, ...]:
    """Give the fixed values in a metavar such as `yes|no` or `netlink|FILE`."""
    if "|" not in metavar:
        return ()
    return tuple(each for each in metavar.split("|") if each.islower())


# --- pages --------------------------------------------------------------------------------


def man_text(command: Command, commands: list[Command]) -> str:
    """Write the page of one command as Markdown, with the sections of a man page."""
    parts = [
        f"# {command.name}(1)",
        f"## Name\n\n{command.name} - {_lowered(command.summary)}",
        f"## Synopsis\n\n```\n{command.synopsis}\n```",
        f"## Description\n\n{_body(command)}",
    ]
    children = [each for each in commands if each.words[:-1] == command.words and each.words]
    if command.verbs:
        rows = "".join(f"| `{' '.join(each.words)}` | {each.summary}. |\n" for each in children)
        parts.append(f"## Commands\n\n| Command | Meaning |\n|---|---|\n{rows}".rstrip())
    for title, parameters in (("Arguments", command.arguments), ("Options", command.options)):
        if parameters:
            parts.append(f"## {title}\n\n{_table(title[:-1], parameters)}")
    parts += [f"## Exit status\n\n{STATUS}", f"## Files\n\n{_FILES}"]
    related = [each.name for each in (*children, commands[0]) if each is not command]
    pages = ", ".join(f"{name}(1)" for name in dict.fromkeys(related))
    others = "auditsvc.toml(5), auditsvc-views(7), auditsvc.rules(7)"
    parts.append(f"## See also\n\n{', '.join(filter(None, (pages, others)))}")
    return "\n\n".join(parts) + "\n"


def commands_page(commands: list[Command]) -> str:
    """Write docs/commands.md: all commands with their options."""
    parts = [_HEAD]
    for command in commands:
        title = " ".join(("auditsvc", *command.words))
        parts.append(f"## {title}\n\n```\n{command.synopsis}\n```\n\n{_body(command)}")
        parts += [
            _table(word, parameters)
            for word, parameters in (("Argument", command.arguments), ("Option", command.options))
            if parameters
        ]
    return "\n\n".join(parts) + "\n"


_HEAD: Final = f"""\
# Commands

Made by `make pages` from the texts of `--help`; do not edit. Each command has a man page:
`man auditsvc-query`.

Exit status: {STATUS}"""
_FILES: Final = """\
/etc/auditsvc/auditsvc.toml: settings, see auditsvc.toml(5). /var/lib/auditsvc: the store and the
spool. /run/auditsvc: state of the running service. /usr/share/doc/auditsvc: where the Debian
package has what messages and pages name as docs/... and packaging/...."""


def _body(command: Command) -> str:
    """Give the text; lines that are indented, as in `--help`, are shown as they are."""
    blocks = re.split(r"\n\s*\n", command.text or f"{command.summary}.")
    made = []
    for block in blocks:
        lines = [line.removeprefix("\b") for line in block.splitlines() if line != "\b"]
        if len(lines) > 1 and all(line.startswith("  ") for line in lines):
            made.append("```\n" + "\n".join(lines) + "\n```")
        elif lines:
            made.append("\n".join(line.strip() for line in lines))
    return "\n\n".join(made)


def _table(title: str, parameters: tuple[Parameter, ...]) -> str:
    rows = "".join(f"| `{_cell(each.shown)}` | {_cell(each.help)} |\n" for each in parameters)
    return f"| {title} | Meaning |\n|---|---|\n{rows}".rstrip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
