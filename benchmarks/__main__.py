"""Compares auditsvc with other programs and writes docs/benchmarks.md and its plots.

    PYTHONPATH=tests python benchmarks [--quick] [--only PART ...] [--into FOLDER]

`make bench` runs all of it (less than half an hour), `make bench BENCH=quick` with small sizes
that only show that everything works. Without --into, the folder is docs/. --only accepts live,
cost, file, disk, questions, goals, web, beside, metrics, reports, against, growth, journal, proof,
decode, views, every, fleet, fleet-pages, answer, large (an hour, and 15 GB of disk), archive
(--events: of a day), and writes their tables to stdout; with --into it replaces these tables in
the existing page.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from peers import AUSEARCH, laurel_version
from plot import Panel, chart, svg
from report import Table, count, exchanged, ratio
from tables import (
    against,
    answer,
    archive,
    beside,
    cost,
    decode,
    disk,
    every,
    file,
    fleet,
    fleet_pages,
    goals,
    growth,
    journal,
    large,
    live,
    metrics,
    proof,
    questions,
    reports,
    views,
    web,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).parents[1] / "docs"
_PAGE_NAME = "benchmarks.md"
PAGE = (
    "live",
    "cost",
    "file",
    "disk",
    "questions",
    "goals",
    "web",
    "beside",
    "metrics",
    "reports",
    "against",
    "growth",
    "journal",
    "proof",
)
PARTS = (*PAGE, "decode", "views", "every", "archive", "fleet", "fleet-pages", "answer", "large")
"""`decode` alone is for development: on the page its figures are part of the table of files.
The figures of `views` are in docs/decisions/0029-views.md, of `archive` in 0032-archive.md."""


_OF_STORES = {
    "disk": disk,
    "questions": questions,
    "goals": goals,
    "web": web,
    "beside": beside,
    "metrics": metrics,
    "reports": reports,
    "against": against,
    "journal": journal,
    "proof": proof,
    "decode": decode,
    "views": views,
    "every": every,
    "fleet": fleet,
    "fleet-pages": fleet_pages,
    "answer": answer,
    "large": large,
}


def about(*, quick: bool) -> list[str]:
    """Give the head of the page: what was measured, on which machine, and how to repeat it."""
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
        " Peers are Debian's packages, unpacked, and laurel that of `make laurel` if it was made."
    )
    plot = "![What it costs and how fast it is](benchmarks.svg)"
    return ["# Benchmarks", "", made, "", plot, ""]


def panels(measured: live.Live | None, files: file.Files) -> list[Panel]:
    """Give the panels of the plot."""
    made = []
    if measured:
        for workload in ("getppid", "shell"):
            title = f"Cost of an audited call against a null reader: {workload}"
            costs = [(name, measured.ratios(name, workload)) for name in measured.results]
            made.append(Panel(title, "less", [(n, cost, ratio(cost)) for n, cost in costs], 1.0))
    for log in files.logs:
        title = f"Records a second from a file: {log} log"
        speeds = [(name, reads[log].speed) for name, reads in files.reads.items()]
        made.append(Panel(title, "more", [(name, speed, count(speed)) for name, speed in speeds]))
    return made


def asked() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=None)
    parser.add_argument("--into", type=Path, default=None, help="folder of the page")
    parser.add_argument("--events", type=int, default=None, help="of a day of the archive")
    return parser.parse_args()


def of_stores(
    parts: Sequence[str], *, quick: bool, folder: Path, events: int | None = None
) -> list[Table]:
    """Measure the tables that are not in a plot."""
    made = [
        module.table(quick=quick, folder=folder)
        for name, module in _OF_STORES.items()
        if name in parts
    ]
    if "growth" in parts:
        made.append(growth.table(growth.measure(quick=quick, folder=folder)))
    if "archive" in parts:
        made.append(archive.table(quick=quick, folder=folder, events=events))
    return made


def main() -> None:
    """Measure the selected tables and write them."""
    options = asked()
    parts = options.only or PAGE
    quick = options.quick
    measured, path, files = None, None, None
    # On a disk: in a memory file system syncing costs nothing.
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if "live" in parts:
            measured = live.measure(quick=quick, folder=folder)
        if "cost" in parts:
            path = cost.measure(quick=quick, folder=folder)
        if "file" in parts:
            files = file.measure(quick=quick, folder=folder)
        more = of_stores(parts, quick=quick, folder=folder, events=options.events)
    tables = [table for each in (measured, path, files) if each for table in each.tables()] + more
    if options.only and not options.into:
        print("\n".join(table.markdown() for table in tables))
        return
    if not options.only and not (measured and path):
        print("the page is not written: it would lack what matters most", file=sys.stderr)
        raise SystemExit(1)
    plots = {}
    if path:
        plots["cost.svg"] = chart(path.lines())
    if measured and files:
        plots["benchmarks.svg"] = svg(panels(measured, files))
    into = options.into or DOCS
    is_new = not options.only or not (into / _PAGE_NAME).exists()
    write(into, "\n".join(about(quick=quick)) + "\n" if is_new else None, tables, plots)


def write(into: Path, head: str | None, tables: list[Table], plots: dict[str, str]) -> None:
    """Write the page, or without a `head` replace tables in the existing one."""
    into.mkdir(parents=True, exist_ok=True)
    page = into / _PAGE_NAME
    page.write_text(exchanged(head or page.read_text(), tables))
    for name, plot in plots.items():
        (into / name).write_text(plot)
    print(f"written: {', '.join(str(into / name) for name in (page.name, *plots))}")


if __name__ == "__main__":
    main()
