"""docs/configuration.md, from the model of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.manual.settings import list_options, section_meanings

if TYPE_CHECKING:
    from collections.abc import Collection

    from auditsvc.manual.settings import Option

_HEAD: Final = """\
# Configuration

Made by `make pages` from the program's own model; do not edit. `auditsvc config show` shows the
values in use and where each is set, `auditsvc config check` every error, and `auditsvc config
path` the file that is read.

A setting is taken from the first of these that has it: an option of the command, a variable, the
file, the default. The file is /etc/auditsvc/auditsvc.toml, or the one that `auditsvc --config
FILE` or the variable `AUDITSVC_CONFIG` names. An unknown setting or `AUDITSVC_*` variable is an
error. `AUDITSVC_PAGER` is no setting: it names the pager of a terminal, before `PAGER`.

`systemctl reload auditsvc` (SIGHUP) changes the settings marked "reload"; for the others the log
and `systemctl status auditsvc` say that they need a restart.
"""
_COLUMNS: Final = ("Setting", "Type", "Default", "Variable", "Changes at", "Meaning")


def settings_page(live: Collection[str]) -> str:
    """Write the page; `live` are the settings that a reload changes."""
    options = list_options()
    parts = [_HEAD]
    for section, meaning in section_meanings().items():
        rows = [_row(each, live) for each in options if each.section == section]
        title = f"[{section}]" if section else "Outside any section"
        head = [_line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
        parts.append("\n".join([f"## {title}\n", f"{meaning}\n", *head, *rows, ""]))
    return "\n".join(parts)


def _row(option: Option, live: Collection[str]) -> str:
    unit = f", {option.unit}" if option.unit else ""
    return _line(
        [
            f"`{option.key}`",
            f"{option.kind}{unit}",
            f"`{option.default}`" if option.default else "absent",
            f"`{option.variable}`",
            "reload" if option.name in live else "restart",
            option.meaning,
        ]
    )


def _line(cells: Collection[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
