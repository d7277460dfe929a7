"""The options of `search` and `tail`: ausearch's, with its names, and ours."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from auditsvc.cli.options import Command
from auditsvc.search.options import Options
from auditsvc.store.read import ausearch_times as times

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typer._click import Context

_TIMES: Final = ("-ts", "--start", "-te", "--end")


class SearchCommand(Command):
    """A command whose -ts and -te take one word or two, as ausearch's do."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Join the two words of a time."""
        joined: list[str] = []
        rest = ["--help" if word == "-h" else word for word in reversed(args)]
        while rest:
            word = rest.pop()
            joined.append(word)
            if word in _TIMES and rest:
                first = rest.pop()
                second = f" {rest.pop()}" if rest and times.is_word(rest[-1]) else ""
                joined.append(f"{first}{second}")
        return super().parse_args(ctx, joined)


class AskedCommand(SearchCommand):
    """One that needs options: without any it shows its help, with exit status 1, as ausearch."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Refuse a command line without options."""
        if not args:
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(1)
        return super().parse_args(ctx, args)


def options_from(given: Mapping[str, Any]) -> Options:
    """Take the options of a search from all parameters of a command; `exit_` is `exit`."""
    words: dict[str, Any] = {}
    for field in fields(Options):
        value = given.get(field.name, given.get(f"{field.name}_"))
        words[field.name] = tuple(value or ()) if field.name in _LISTS else value
    return Options(**words)


_LISTS: Final = ("message", "node")


def _option(help_: str, metavar: str, *names: str) -> Any:
    return typer.Option(*names, help=help_, metavar=metavar, show_default=False)


Event = Annotated[str | None, _option("Serial of the event.", "N", "-a", "--event")]
Arch = Annotated[str | None, _option("Machine: x86_64, b32, b64 ...", "CPU", "--arch")]
Comm = Annotated[str | None, _option("In the command's name.", "COMM", "-c", "--comm")]
Exit = Annotated[str | None, _option("Result: a number, or EACCES.", "CODE", "-e", "--exit")]
File = Annotated[
    str | None,
    _option("In a name of a file or socket, or in the directory.", "TEXT", "-f", "--file"),
]
GidAll = Annotated[str | None, _option("Group, also effective.", "GID", "-ga", "--gid-all")]
GidEffective = Annotated[str | None, _option("Effective group.", "GID", "-ge", "--gid-effective")]
Gid = Annotated[str | None, _option("Group.", "GID", "-gi", "--gid")]
Remote = Annotated[str | None, _option("In a remote host's name.", "HOST", "-hn", "--host")]
Key = Annotated[str | None, _option("In a key of the rule.", "KEY", "-k", "--key")]
Message = Annotated[
    list[str] | None, _option("Record types, with commas.", "TYPE", "-m", "--message")
]
Node = Annotated[list[str] | None, _option("Host, exactly.", "HOST", "-n", "--node")]
Object = Annotated[str | None, _option("In an object's label.", "LABEL", "-o", "--object")]
Subject = Annotated[str | None, _option("In a subject's label.", "LABEL", "-su", "--subject")]
Label = Annotated[str | None, _option("In either label.", "LABEL", "-se", "--context")]
Pid = Annotated[str | None, _option("Process.", "PID", "-p", "--pid")]
Ppid = Annotated[str | None, _option("Parent process.", "PID", "-pp", "--ppid")]
Syscall = Annotated[str | None, _option("System call: name or number.", "CALL", "-sc", "--syscall")]
Session = Annotated[str | None, _option("Session; -1: none.", "N", "--session")]
Success = Annotated[str | None, _option("yes or no.", "yes|no", "-sv", "--success")]
Start = Annotated[
    str | None, _option("From this local time on; one word or two.", "TIME", "-ts", "--start")
]
End = Annotated[str | None, _option("Up to this local time.", "TIME", "-te", "--end")]
Terminal = Annotated[str | None, _option("In the terminal.", "TTY", "-tm", "--terminal")]
UidAll = Annotated[str | None, _option("User: uid, euid or auid.", "USER", "-ua", "--uid-all")]
UidEffective = Annotated[str | None, _option("Effective user.", "USER", "-ue", "--uid-effective")]
Uid = Annotated[str | None, _option("User.", "USER", "-ui", "--uid")]
Loginuid = Annotated[str | None, _option("Login user.", "USER", "-ul", "--loginuid")]
Uuid = Annotated[str | None, _option("In a virtual machine's UUID.", "UUID", "-uu", "--uuid")]
VmName = Annotated[str | None, _option("In its name.", "NAME", "-vm", "--vm-name")]
Executable = Annotated[str | None, _option("In the program's path.", "PATH", "-x", "--executable")]
Word = Annotated[bool, typer.Option("-w", "--word", help="Texts match whole values only.")]
Since = Annotated[
    str | None, _option("From this time on (UTC): ISO, -1h, '2h ago'.", "TIME", "--since")
]
Until = Annotated[str | None, _option("Before this time (UTC).", "TIME", "--until")]
Utc = Annotated[bool, typer.Option("--utc", help="-ts, -te and times shown are UTC.")]
FullPath = Annotated[
    str | None, _option("A file's full path, or a folder above it; no pattern.", "PATH", "--path")
]
Container = Annotated[
    str | None,
    _option("Container: its id, the beginning of it, or its name.", "ID|NAME", "--container"),
]
Unit = Annotated[
    str | None, _option("systemd unit of the process: ssh or ssh.service.", "UNIT", "--unit")
]
Where = Annotated[str | None, _option("SQL condition over the view syscalls.", "SQL", "--where")]
