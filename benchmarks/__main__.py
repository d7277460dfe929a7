"""Measures auditsvc against its peers and writes docs/benchmarks.md and docs/benchmarks.svg.

    PYTHONPATH=tests python benchmarks [--quick] [--only PART ...] [--into FOLDER]

`make bench` runs it whole (below half an hour), `make bench BENCH=quick` with sizes that
show only that everything works. Without --into, the folder is docs/; --only takes
live, file, questions, growth, journal, decode, and writes to stdout instead of the page.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from peers import AUSEARCH, laurel_version
from plot import Panel, svg
from report import Table, count, ratio
from tables import decode, file, growth, journal, live, questions

DOCS = Path(__file__).parents[1] / "docs"
PAGE = ("live", "file", "questions", "growth", "journal")
PARTS = (*PAGE, "decode")
"""`decode` alone is for those who work on it: the page has its figures among the files'."""


def about(*, quick: bool) -> list[str]:
    """What was measured, on what, and how to do it again."""
    commands = {
        "auditsvc": [Path(sys.executable).with_name("auditsvc"), "--version"],
        "audit": [AUSEARCH, "--version"],
    }
    versions = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        for command in commands.values()
    ]
    how = "make bench BENCH=quick" if quick else "make bench"
    made = (
        f"Made by `{how}`, which needs root. Hold the ratios against your own; the times are"
        f" this machine's: {os.cpu_count()} cores, Linux {platform.release()}."
        f" {'; '.join(versions)}; laurel {laurel_version()}."
        " Peers are Debian's packages, unpacked."
    )
    plot = "![What it costs and how fast it is](benchmarks.svg)"
    return ["# Benchmarks", "", made, "", plot, ""]


def panels(measured: live.Live | None, files: file.Files) -> list[Panel]:
    """What the plot shows."""
    made = []
    if measured:
        for workload in ("getppid", "shell"):
            title = f"Cost of an audited call against a null reader: {workload} (less is better)"
            costs = [(name, measured.ratios(name, workload)) for name in measured.results]
            made.append(Panel(title, [(n, cost, ratio(cost)) for n, cost in costs], mark=1.0))
    for log in files.logs:
        title = f"Records a second from a file: {log} log (more is better)"
        speeds = [(name, reads[log].speed) for name, reads in files.reads.items()]
        made.append(Panel(title, [(name, speed, count(speed)) for name, speed in speeds]))
    return made


def main() -> None:
    """Measure what is asked for and write it down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=None)
    parser.add_argument("--into", type=Path, default=DOCS, help="folder of the page")
    options = parser.parse_args()
    parts = options.only or PAGE
    quick = options.quick
    measured, files = None, None
    more: list[Table] = []
    # On a disk: in a memory file system syncing costs nothing.
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if "live" in parts:
            measured = live.measure(quick=quick, folder=folder)
        if "file" in parts:
            files = file.measure(quick=quick, folder=folder)
        if "questions" in parts:
            more.append(questions.table(quick=quick, folder=folder))
        if "growth" in parts:
            more.append(growth.table(growth.measure(quick=quick, folder=folder)))
        if "journal" in parts:
            more.append(journal.table(quick=quick, folder=folder))
        if "decode" in parts:
            more.append(decode.table(quick=quick, folder=folder))
    tables: list[Table] = measured.tables() if measured else []
    tables += files.tables() if files else []
    tables += more
    if options.only or not files:
        print("\n".join(table.markdown() for table in tables))
        return
    if measured is None:
        print("the page is not written: it would lack what matters most", file=sys.stderr)
        raise SystemExit(1)
    page = "\n".join(about(quick=quick)) + "\n" + "\n".join(t.markdown() for t in tables)
    options.into.mkdir(parents=True, exist_ok=True)
    (options.into / "benchmarks.md").write_text(page)
    (options.into / "benchmarks.svg").write_text(svg(panels(measured, files)))
    print(f"written: {options.into / 'benchmarks.md'} and benchmarks.svg")


if __name__ == "__main__":
    main()
