"""libFuzzer on one target, in a process of its own, which it ends: `inside.py TARGET OPTION...`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["auditsvc", "tomllib"]):
    from fuzz.targets import TARGETS

# To merge, libFuzzer starts more of its kind by a shell, with the first word as it is here.
atheris.Setup([f"{sys.executable} {__file__} {sys.argv[1]}", *sys.argv[2:]], TARGETS[sys.argv[1]])
atheris.Fuzz()
