"""On new records of this kernel auparse, the reference and the native core agree.

`make test` compares some thousand records, `make test-long` a million.
"""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("auparse", reason="the package python3-audit is not installed")

from fixtures.auparse_judge import judge
from fixtures.repeats import times
from live.programs import fresh_auid, rules
from live.service import Service

from auditsvc.decode import DECODERS, make_decoder
from auditsvc.record.line import parse_line

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock"), pytest.mark.timeout(3600)]

PIECE = 4 << 20  # bytes that are compared at once


def work(programs, auid, folder):
    """Do some thousand calls of many kinds."""
    script = (
        "find /usr/lib/python3/dist-packages -maxdepth 2 | tail -n 3;"
        " tar -cf - /etc/apt /etc/pam.d | gzip -c | wc -c;"
        ' python3 -SEc \'import json, socket, subprocess; subprocess.run(["ls", "/nowhere"])\';'
        " for i in 1 2 3; do ls -l /etc; cat /etc/passwd; done"
    )
    programs.run(auid, "/bin/sh", "-c", script)
    programs.run(auid, programs["sockets"], "0", folder / "socket", "differential")
    programs.run(auid, programs["names"], b"a 'name' of \"some\" \xff\xfe bytes")
    programs.run(auid, programs["i386"])


def pieces(paths):
    """The spool in pieces that end between events."""
    piece, size = [], 0
    for path in paths:
        for line in path.read_bytes().splitlines(keepends=True):
            piece.append(line)
            size += len(line)
            if size >= PIECE and line.startswith(b"type=EOE"):
                yield b"".join(piece)
                piece, size = [], 0
    yield b"".join(piece)


@pytest.mark.parametrize("records", times(3_000, 1_000_000))
def test_all_three_agree(programs, tmp_path, records):
    """Every event, record and field as auparse has it; every row the same from both decoders."""
    auid = fresh_auid()
    with Service(tmp_path, rules(auid)) as service:
        received = 0
        while received < records:
            work(programs, auid, tmp_path)
            spool = sorted((tmp_path / "state/spool").glob("*.log"))
            received = sum(path.stat().st_size for path in spool) // 170
    counts = Counter()
    makers = {name: make_decoder(name, secret=b"secret", host="here") for name in sorted(DECODERS)}
    for piece in pieces(sorted((tmp_path / "state/spool").glob("*.log"))):
        lines = piece.splitlines(keepends=True)
        assert not [line for line in lines if isinstance(parse_line(line[:-1]), str)]
        counts["records"] += judge(piece, counts)
        batches = []
        for decoder in makers.values():
            decoder.feed(piece, 0.0)
            batches.append(decoder.take())
        assert all(batch == batches[0] for batch in batches)
        counts["rows"] += len(batches[0].facts["syscall"])
    assert counts["records"] > records / 2
    assert service.query("SELECT count(*) AS n FROM syscalls")[0]["n"] >= counts["rows"] > 0
    print(f"\n{counts['records']} records, {counts['rows']} calls; {', '.join(sorted(makers))}")
