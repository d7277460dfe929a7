"""The other programs: small C programs of ours, compiled once, and those of `make peers`."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
BUILD: Final = HERE.parent / "build"
PEERS: Final = BUILD / "peers"
AUSEARCH: Final = PEERS / "sbin/ausearch"
AUREPORT: Final = PEERS / "sbin/aureport"


def _laurel() -> Path:
    """Give the requested laurel, else that of `make laurel`, else Debian's."""
    if named := os.environ.get("LAUREL"):
        return Path(named)
    return max(PEERS.glob("laurel-*/bin/laurel"), default=PEERS / "usr/sbin/laurel")


LAUREL: Final = _laurel()


@cache
def built(name: str) -> Path:
    """Compile NAME.c of this folder and give the program."""
    folder = BUILD / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    libraries: list[str | Path] = []
    if name == "fields":
        found = sorted(Path("/usr/lib").glob("*/libauparse.so.0"))
        if not found:
            raise SystemExit("libauparse is not installed; `make setup` installs python3-audit")
        libraries = [f"-I{PEERS}/usr/include", found[0]]
    if name == "journal_send":
        libraries = ["-lsystemd"]
    flags = ["-O2", "-Wall", "-Wextra", "-Werror"]
    source = HERE / f"{name}.c"
    subprocess.run(["gcc", *flags, "-o", program, source, *libraries], check=True)
    return program


def laurel_config(folder: Path) -> Path:
    """Write laurel's settings: JSON lines into one file in `folder`, otherwise as Debian's.

    The file is never full, so that no rotation is measured.
    """
    path = folder / "laurel.toml"
    path.write_text(
        f'directory = "{folder}"\n'
        '[auditlog]\nfile = "laurel.json"\nsize = 100000000000\ngenerations = 1\n'
        '[transform]\nexecve-argv = [ "array" ]\n'
        '[enrich]\npid = true\nexecve-env = [ "LD_PRELOAD", "LD_LIBRARY_PATH" ]\n'
        "container = true\nscript = true\n"
    )
    return path


def laurel_version() -> str:
    """Give laurel's version."""
    done = subprocess.run([LAUREL, "--version"], capture_output=True, text=True, check=True)
    return " ".join((done.stdout or done.stderr).split()[:2])
