"""What several verbs share: options, and the form of their help."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer.core import TyperCommand

from auditsvc.render.colour import When
from auditsvc.render.output import Form

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter


MOST: Final = (1 << 63) - 1
"""The largest number that a store can hold."""
_RANGE: Final = re.compile(rf"\s*\[\d+<=x<={MOST}\]")


class Command(TyperCommand):
    """A command whose help shows an argument's name without its Python type.

    Nor does it show a range whose end is only that of the store's numbers.
    """

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the sections "Arguments" and "Options"."""
        arguments, options = [], []
        for param in self.get_params(ctx):
            if (found := param.get_help_record(ctx)) is None:
                continue
            record = (found[0], _RANGE.sub("", found[1]))
            if param.param_type_name == "argument":
                arguments.append((param.metavar or param.name or "", record[1]))
            else:
                options.append(record)
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def show_help(ctx: typer.Context) -> None:
    """End a command line that has no verb: show its help on stderr, with exit status 2."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(2)


StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="The database, as an SQLAlchemy URL.", metavar="URL"),
]


FormOption = Annotated[
    Form | None,
    typer.Option("--format", help="Default: table on a terminal, else json.", show_default=False),
]


ColorOption = Annotated[
    When,
    typer.Option(
        "--color",
        help="Mark failures and kinds: auto is on a terminal, unless NO_COLOR is set.",
    ),
]
NoPagerOption = Annotated[bool, typer.Option("--no-pager", help="On a terminal: no pager.")]
