"""Values -> HTML, by templates that escape everything.

Every value that is put into a page has its control and invisible characters made visible
(`auditsvc.host.terminal`) and is escaped for HTML; a template has no way around it but Markup,
which is only made here.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from auditsvc import __version__
from auditsvc.host.terminal import visible
from auditsvc.value_text import as_text

_OUR: Final = files("auditsvc.web")
STATIC: Final = {
    "htmx.min.js": "text/javascript",
    "uplot.min.js": "text/javascript",
    "uplot.min.css": "text/css",
    "web.js": "text/javascript",
    "web.css": "text/css",
}


@cache
def asset(name: str) -> bytes:
    """Give a file of `STATIC`."""
    return (_OUR / "static" / name).read_bytes()


@cache
def asset_address(name: str) -> str:
    """Give its address, which changes with its content: a browser keeps it for ever."""
    return f"/static/{name}?v={hashlib.sha256(asset(name)).hexdigest()[:16]}"


def _template(name: str) -> str:
    return (_OUR / "templates" / name).read_text(encoding="utf-8")


def _safe(value: Any) -> Any:
    """Make a value ready for the escaping: text without anything hidden."""
    return value if isinstance(value, Markup) else visible(as_text(value))


def when(value: Any) -> Markup:
    """Write a time of the store (UTC) so that the browser can show it in the reader's zone."""
    if value is None:
        return Markup("")
    text = as_text(value) if isinstance(value, datetime) else str(value)
    if len(text) < 19 or not text[:4].isdecimal():
        return escape(visible(text))
    stamp = text.replace(" ", "T") + "Z"
    return Markup('<time datetime="{}">{}</time>').format(visible(stamp), visible(text))


def lines(text: str) -> Markup:
    """Write a text of several lines whose lines stay lines."""
    return Markup("\n").join(escape(visible(line)) for line in text.split("\n"))


def data(value: Any) -> str:
    """Write a value as JSON for an attribute."""
    return json.dumps(value, separators=(",", ":"))


def _number(value: Any) -> str:
    return f"{int(value):,}"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        finalize=_safe,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"when": when, "lines": lines, "data": data, "number": _number}
    made.globals |= {"asset": asset_address, "version": __version__}
    return made


def render(template: str, **values: Any) -> str:
    """Fill in a template."""
    return _environment().get_template(template).render(**values)
