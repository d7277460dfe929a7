"""What `make release` writes: equal bytes of equal input, and every component named."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EPOCH = {"SOURCE_DATE_EPOCH": "1764000000"}


def run(tool, *words):
    """Run one of the tools."""
    return subprocess.run(
        [sys.executable, ROOT / "tools" / tool, *words],
        env=os.environ | EPOCH,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def archive(file, *, order, times, modes):
    """Make a source archive with these names, modification times and modes."""
    folder = file.parent / f"of-{file.name}"
    for index, name in enumerate(("p-1/a.py", "p-1/sub/b.py", "p-1/tool")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{index}\n")
        path.chmod(modes | (0o100 if name.endswith("tool") else 0))
        os.utime(path, (times + index, times + index))
    with tarfile.open(file, "w:gz") as made:
        for name in sorted(("a.py", "sub", "tool"), reverse=order):
            made.add(folder / "p-1" / name, f"p-1/{name}")
    return file


def test_a_source_archive_is_equal_whatever_the_disk_and_clock_say(tmp_path):
    """Order, times, modes and the file's own name leave no trace; the content stays."""
    first = archive(tmp_path / "one.tar.gz", order=False, times=1_000_000_000, modes=0o644)
    second = archive(tmp_path / "two.tar.gz", order=True, times=1_700_000_000, modes=0o600)
    run("repack", first)
    run("repack", second)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as made:
        modes = {each.name: each.mode for each in made.getmembers() if each.isfile()}
        assert modes == {"p-1/a.py": 0o644, "p-1/sub/b.py": 0o644, "p-1/tool": 0o755}
        assert {each.mtime for each in made.getmembers()} == {1764000000}
        assert made.extractfile("p-1/sub/b.py").read() == b"1\n"


def test_a_wheel_is_equal_whatever_the_disk_and_clock_say(tmp_path):
    """Times and modes leave no trace; the content stays."""
    made = []
    for name, year, mode in (("one", 2001, 0o100600), ("two", 2020, 0o100664)):
        file = tmp_path / f"{name}.whl"
        with zipfile.ZipFile(file, "w") as target:
            for inside, bits in (("a.py", mode), ("core.so", mode | 0o100)):
                entry = zipfile.ZipInfo(inside, (year, 1, 1, 0, 0, 0))
                entry.external_attr = bits << 16
                target.writestr(entry, inside * 100)
        run("repack", file)
        made.append(file.read_bytes())
    assert made[0] == made[1]
    with zipfile.ZipFile(file) as wheel:
        modes = [oct(each.external_attr >> 16) for each in wheel.infolist()]
        assert modes == ["0o100644", "0o100755"]
        assert wheel.read("core.so") == b"core.so" * 100


def test_a_link_in_a_source_archive_is_refused(tmp_path):
    """It could point out of the archive."""
    file = tmp_path / "link.tar.gz"
    with gzip.open(file, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as made:
        link = tarfile.TarInfo("p-1/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(link)
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run("repack", file)
    assert "p-1/link is neither a file nor a folder" in failed.value.stderr


def test_the_list_of_components_names_every_pin_and_every_crate():
    """With versions, a purl each, the hashes of crates, licences of distributions."""
    text = run("sbom")
    assert run("sbom") == text
    made = json.loads(text)
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert made["metadata"]["timestamp"] == "2025-11-24T16:00:00+00:00"
    pins = re.findall(
        r"(?m)^([A-Za-z0-9._-]+)==([^\s;]+)",
        (ROOT / "packaging/constraints-runtime.txt").read_text(),
    )
    locked = tomllib.loads((ROOT / "native/Cargo.lock").read_text())["package"]
    crates = [each for each in locked if "source" in each]
    wanted = {f"pkg:pypi/{name}@{version}" for name, version in pins}
    wanted |= {f"pkg:cargo/{each['name']}@{each['version']}" for each in crates}
    assert {each["purl"] for each in made["components"]} == wanted
    of = {each["purl"]: each for each in made["components"]}
    for each in crates:
        hashes = of[f"pkg:cargo/{each['name']}@{each['version']}"]["hashes"]
        assert hashes == [{"alg": "SHA-256", "content": each["checksum"]}]
    without = [purl for purl, each in of.items() if "pypi" in purl and not each.get("licenses")]
    assert without == []


def test_the_list_of_components_says_what_needs_what():
    """Every component is needed by another one or by auditsvc; sqlalchemy by alembic too."""
    made = json.loads(run("sbom"))
    needs = {each["ref"]: set(each.get("dependsOn", ())) for each in made["dependencies"]}
    root = made["metadata"]["component"]["bom-ref"]
    reached, waiting = set(), [root]
    while waiting:
        reached.add(ref := waiting.pop())
        waiting += needs[ref] - reached
    assert reached == {root} | {each["bom-ref"] for each in made["components"]}
    alembic = next(ref for ref in needs if ref.startswith("pkg:pypi/alembic@"))
    assert any(ref.startswith("pkg:pypi/sqlalchemy@") for ref in needs[alembic])


@pytest.mark.long
@pytest.mark.skipif(shutil.which("cargo") is None, reason="the native core is part of it")
def test_a_release_is_built_twice_and_equal(tmp_path):
    """`make release` of the last commit, in a clone: it compares the two itself."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    (clone / ".venv/bin").mkdir(parents=True)
    python = clone / ".venv/bin/python"  # behind a link it would not know of its packages
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        [clone / "tools/make-release", "--no-deb"],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    checked = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"],
        cwd=clone / "dist/release",
        capture_output=True,
        text=True,
        check=True,
    )
    ends = sorted(line.partition(":")[0].rpartition("-")[2] for line in checked.stdout.splitlines())
    assert len(ends) == 3, checked.stdout
