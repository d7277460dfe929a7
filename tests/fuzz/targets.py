"""What is fuzzed: parsers of bytes that an attacker or a mistake may have written.

A target takes any bytes and returns, or fails: with an exception that no user should see, or
since something does not hold that always must. `tests/fuzz/__main__.py` searches for such bytes,
guided by coverage; `tests/unit/test_fuzz_corpus.py` runs all that it kept.
"""

from __future__ import annotations

import os
import random
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from fixtures.decoder_pair import Pair, drive

from auditsvc.config import Settings, read_settings
from auditsvc.errors import RuleError
from auditsvc.rule import Add, Host, Rule, parse, printing
from auditsvc.rule.files import read_text
from auditsvc.ruleset.advice import advise

if TYPE_CHECKING:
    from collections.abc import Callable

_STAMP = b"msg=audit(1700000000.123:7): "
_CALL = b"type=SYSCALL " + _STAMP + b"arch=c000003e syscall=42 success=yes exit=0 a0=3 pid=7\n"


def decoders(data: bytes) -> None:
    """Both decoders give the same for any log, in any pieces; the first two bytes choose those."""
    drive(random.Random(int.from_bytes(data[:2])), data[2:])


def addresses(data: bytes) -> None:
    """Both decoders give the same for the bytes of any socket address."""
    pair = Pair()
    hexadecimal = data.hex().upper().encode()
    pair.do("feed", _CALL + b"type=SOCKADDR " + _STAMP + b"saddr=" + hexadecimal + b"\n", 0.0)
    pair.do("finish")
    assert pair.do("take").facts


def rules(data: bytes) -> None:
    """A rule file is refused by name, or its rules survive the kernel's form and their own text."""
    errors: list[RuleError] = []
    text = ""
    try:
        text = read_text(_written(data))
    except RuleError as error:
        errors.append(error)
    lines = parse(text, "fuzz.rules", _host(), errors)
    assert not any("\n" in str(error) for error in errors)
    advise(lines, _host())
    for line in lines:
        if not isinstance(line.command, Add):
            continue
        rule = line.command.rule
        assert Rule.from_bytes(rule.to_bytes()) == rule
        if line.text.isprintable():  # others are shown with escapes, which no rule file has
            (again,) = parse(printing.text(rule, _host().arch), host=_host())
            assert isinstance(again.command, Add)
            assert _in_one_order(again.command.rule) == _in_one_order(rule)


def settings(data: bytes) -> None:
    """Settings are read, or each error is one line that names the file or the setting."""
    with patch.dict(os.environ, {"AUDITSVC_CONFIG": str(_written(data))}):
        found = read_settings()
    if not isinstance(found, Settings):
        assert found
        assert not any("\n" in str(error) for error in found)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (decoders, addresses, rules, settings)
}


def _in_one_order(rule: Rule) -> Rule:
    """Give the rule with its conditions sorted: the architecture is shown first, as by auditctl."""
    return replace(rule, conditions=tuple(sorted(rule.conditions, key=repr)))


@cache
def _file() -> Path:
    """Give a file for the bytes, in memory if that is there."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None)) / "bytes"


def _written(data: bytes) -> Path:
    _file().write_bytes(data)
    _file().chmod(0o600)
    return _file()


@cache
def _host() -> Host:
    """Give a machine without files and with few users: what a search finds, it finds anywhere."""
    users = {"root": 0, "nobody": 65534}
    return Host(0xC000003E, users.get, users.get, lambda path: path in ("/", "/etc", "/srv"))
