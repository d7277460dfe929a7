"""The inputs of a target: those that searches kept, and those that the tests know."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from fixtures import forms

from auditsvc.config import setting_names

_HERE = Path(__file__).parent
_DATA = _HERE.parent / "data"
_RULES = _HERE.parent.parent / "rules"
_CUT = 1500
"""Bytes of a log in one input."""
_MOST_LOG = 60_000


def kept(name: str) -> list[bytes]:
    """Give what searches kept: each input reaches code that no smaller set reaches."""
    file = _packed(name)
    if not file.exists():
        return []
    with zipfile.ZipFile(file) as archive:
        return [archive.read(entry) for entry in archive.namelist()]


def keep(name: str, inputs: list[bytes]) -> None:
    """Keep these instead; the same inputs are the same file."""
    _packed(name).parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(_packed(name), "w") as archive:
        for data in sorted(inputs):
            entry = zipfile.ZipInfo(name_of(data))  # its date is fixed
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)


def known(name: str) -> list[bytes]:
    """Give inputs that the tests know."""
    if name == "decoders":
        logs = [path.read_bytes() for path in sorted(_DATA.glob("**/*.log"))]
        cuts = [log[n : n + _CUT] for log in logs for n in range(0, min(len(log), _MOST_LOG), _CUT)]
        return [bytes((n % 256, 0)) + data for n, data in enumerate([*cuts, *forms.lines()])]
    if name == "addresses":
        return [bytes((n, 0, *range(length))) for n in range(50) for length in (4, 14, 30, 110)]
    if name == "rules":
        return [path.read_bytes() for path in sorted(_RULES.glob("**/*.rules"))]
    values = ("1", '"x"', "true", '["a"]')
    return [f"{name} = {value}\n".encode() for name in setting_names() for value in values]


def words(name: str) -> list[bytes]:
    """Give the words of the language, as libFuzzer's dictionary has them."""
    if name == "addresses":
        return []
    found = {word for data in known(name) for word in data.replace(b"=", b"= ").split()}
    short = sorted(word for word in found if len(word) < 24)
    return [b'"' + b"".join(b"\\x%02x" % each for each in word) + b'"' for word in short]


def name_of(data: bytes) -> str:
    """Name an input by its content."""
    return hashlib.sha256(data).hexdigest()[:16]


def _packed(name: str) -> Path:
    return _HERE / "corpus" / f"{name}.zip"
