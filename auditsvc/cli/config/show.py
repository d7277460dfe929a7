"""`auditsvc config show`: every setting, its value, where it is set, and its meaning."""

from __future__ import annotations

import json
import os
import tomllib
from textwrap import wrap
from typing import Annotated, Any

import typer

from auditsvc.cli.options import FormOption
from auditsvc.config import Settings, load_settings, settings_file, variable_of
from auditsvc.host.files import read_file
from auditsvc.host.terminal import visible
from auditsvc.manual.settings import Option, as_toml, list_options
from auditsvc.render.output import wants_json, write_json
from auditsvc.service.reload import LIVE
from auditsvc.store.databases import shown_url
from auditsvc.value_text import parse_toml


def show(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Settings or sections; default: all.", metavar="NAME", show_default=False
        ),
    ] = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only settings that are not at their default.")
    ] = False,
    form: FormOption = None,
) -> None:
    """Show the settings that a command would use now; a password in the store's URL is hidden.

    As a file of settings, or as JSON. Of each: its meaning, type and unit, where its value is from
    (default, the file, a variable), and whether a reload (SIGHUP) changes it or it needs a restart.
    """
    settings = load_settings()
    file = _file_values()
    rows = [
        _row(option, settings, file)
        for option in list_options()
        if not names or option.name in names or option.section in names
    ]
    if unknown := sorted(set(names or ()) - {part for row in rows for part in _parts(row)}):
        raise typer.BadParameter(f"no setting or section {unknown[0]!r}")
    shown = [row for row in rows if not changed or row["from"] != "default"]
    if wants_json(form):
        write_json(shown)
        return
    section = ""
    for row in shown:
        name, _, key = (
            ("", "", row["name"]) if "." not in row["name"] else row["name"].partition(".")
        )
        if name != section:
            section = name
            typer.echo(f"[{section}]")
        for line in _comment(row):
            typer.echo(f"# {line}")
        value = as_toml(row["value"])
        typer.echo(visible(f"{key} = {value}" if value else f"# {key} = (absent)"))
        typer.echo()


def _comment(row: dict[str, Any]) -> list[str]:
    unit = f", in {row['unit']}" if row["unit"] else ""
    facts = f"{row['kind']}{unit}; from: {row['from']}; changes at a {row['changes_at']}"
    return [*wrap(str(row["meaning"]), 76), *wrap(facts, 76)]


def _parts(row: dict[str, Any]) -> tuple[str, str]:
    name = str(row["name"])
    return name, name.rpartition(".")[0]


def _row(option: Option, settings: Settings, file: dict[str, Any]) -> dict[str, Any]:
    part = getattr(settings, option.section) if option.section else settings
    value = getattr(part, option.key)
    if option.name == "store":
        value = shown_url(value)
    return {
        "name": option.name,
        "value": _plain(value),
        "default": tomllib.loads(f"it = {option.default}")["it"] if option.default else None,
        "unit": option.unit,
        "from": _origin(option, file),
        "changes_at": "reload" if option.name in LIVE else "restart",
        "kind": option.kind,
        "variable": option.variable,
        "meaning": option.meaning,
    }


def _plain(value: Any) -> Any:
    """Give a value as JSON has it."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, int | float | None) else str(value)


def _origin(option: Option, file: dict[str, Any]) -> str:
    given = {name.upper(): value for name, value in os.environ.items()}
    if option.variable in given:
        return option.variable
    whole = variable_of(option.section)
    if option.section and option.key in json.loads(given.get(whole, "{}")):
        return whole  # the section as JSON
    part = file.get(option.section, {}) if option.section else file
    return visible(str(settings_file())) if option.key in part else "default"


def _file_values() -> dict[str, Any]:
    """Read the file again: the model does not keep where a value is from."""
    file = settings_file()
    return parse_toml(read_file(file)) if os.path.lexists(file) else {}
