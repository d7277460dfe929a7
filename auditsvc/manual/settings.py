"""Every setting with its type, default, unit and meaning, from the model.

    auditsvc.config -> [Option(name, kind, default, unit, meaning, variable)]

The meaning is the text below the setting in the source, which Python does not keep: it is read
from the source file. The unit is the end of the name, or the first word of the meaning.
"""

from __future__ import annotations

import ast
import inspect
import json
import types
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Union, get_args, get_origin

from auditsvc import config
from auditsvc.config import sections

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

_UNITS: Final = ("bytes", "seconds", "hours", "records", "events", "days", "percent")
_WORDS: Final = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path"}
_BOUNDS: Final = (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))


@dataclass(frozen=True, slots=True)
class Option:
    """One setting."""

    name: str
    """As in the file: `spool.keep_bytes`."""
    kind: str
    """Its type and bounds, in words."""
    default: str
    """In TOML; empty if it is absent by default."""
    unit: str
    meaning: str
    variable: str

    @property
    def section(self) -> str:
        """The section of the file; empty outside any."""
        return self.name.rpartition(".")[0]

    @property
    def key(self) -> str:
        """The name within its section."""
        return self.name.rpartition(".")[2]


def list_options() -> list[Option]:
    """Give all settings in the order of the model."""
    meanings = _meanings()
    return [
        _option(name, model, field, meanings)
        for prefix, model in _models()
        for key, field in model.model_fields.items()
        if config.section_of(field.annotation) is None
        for name in (f"{prefix}{key}",)
    ]


def section_meanings() -> dict[str, str]:
    """Give what each section is about; that of "" is what belongs to none."""
    return {prefix.rstrip("."): inspect.getdoc(model) or "" for prefix, model in _models()}


def as_toml(value: object) -> str:
    """Write a value as TOML; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(as_toml(each) for each in value)}]"
    if isinstance(value, int | float):
        return str(value)
    return json.dumps(str(value), ensure_ascii=False)


def _models() -> Iterator[tuple[str, type[BaseModel]]]:
    yield "", config.Settings
    for name, field in config.Settings.model_fields.items():
        if section := config.section_of(field.annotation):
            yield f"{name}.", section


def _option(
    name: str, model: type[BaseModel], field: FieldInfo, meanings: dict[tuple[str, str], str]
) -> Option:
    key = name.rpartition(".")[2]
    meaning = meanings.get((model.__name__, key), "")
    factory = field.default_factory is not None  # its value is of this host
    return Option(
        name=name,
        kind=_kind(field.annotation) + _bounds(field),
        default="" if factory else as_toml(field.default),
        unit=_unit(key, meaning),
        meaning=meaning,
        variable=config.variable_of(name),
    )


def _unit(key: str, meaning: str) -> str:
    last = key.rpartition("_")[2]
    first = meaning.partition(" ")[0].rstrip(".").lower()
    return next((word for word in (last, first) if word in _UNITS), "")


def _bounds(field: FieldInfo) -> str:
    found = [
        f"{words} {value:.15g}" if isinstance(value, float) else f"{words} {value}"
        for each in field.metadata
        for attribute, words in _BOUNDS
        if (value := getattr(each, attribute, None)) is not None
    ]
    return f", {', '.join(found)}" if found else ""


def _kind(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(str(each) for each in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(each) for each in inner if each is not type(None))
    if origin in (list, tuple):
        return f"list of {_kind(inner[0])}"
    if hasattr(annotation, "__metadata__"):  # Annotated
        return _kind(inner[0])
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(annotation)
    return _WORDS[annotation]


def _meanings() -> dict[tuple[str, str], str]:
    """Give the text below each setting, by class and name."""
    found = {}
    sources = (inspect.getsource(module) for module in (config, sections))
    for model in (each for source in sources for each in ast.parse(source).body):
        if not isinstance(model, ast.ClassDef):
            continue
        for field, text in zip(model.body, model.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                found[model.name, field.target.id] = " ".join(str(text.value.value).split())
    return found
