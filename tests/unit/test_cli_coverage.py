"""`auditsvc coverage` for a person: 80 columns, a line for each unit, each advice once."""

from __future__ import annotations

from auditsvc.cli import coverage as command
from auditsvc.coverage.judge import CoverageState


def process(pid, do="restart it", comm="worker", unit="/system.slice/worker.service"):
    """Give a judgement as JSON has it."""
    return {"pid": pid, "comm": comm, "unit": unit, "exe": "/bin/x", "do": do}


def test_each_advice_stands_once_above_those_it_is_for(capsys):
    """Processes of a unit are one line; hidden characters of a name are visible."""
    members = [process(pid) for pid in range(10, 15)]
    members += [process(20, do="boot with audit=1", comm="a\x1b[2J", unit=None)]
    command._write_group(CoverageState.UNKNOWN, "forked before", members)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "",
        "UNKNOWN: forked before",
        "  What to do: restart it",
        "    worker          10 11 12 and 2 more  /system.slice/worker.service",
        "  What to do: boot with audit=1",
        r"    a\x1b[2J        20  /bin/x",
    ]


def test_no_line_is_wider_than_80_columns(capsys):
    """Of a long path its end stays, of a long advice all of it."""
    unit = "/system.slice/" + "a" * 300 + ".service"
    do = "systemctl restart " + " ".join(f"unit{n}.service" for n in range(20))
    command._write_group(CoverageState.NOT_COVERED, "why " * 40, [process(4194304, do, unit=unit)])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) == 80
    assert "aaa.service" in out
    assert "unit19.service" in out
