"""The formats of `auditsvc search`, against the log, the real ausearch, and hostile events."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from fixtures import ausearch, searching
from fixtures.logs import call, everything, load, proctitle, record, recorded, rows
from rich.cells import cell_len

from auditsvc.search import formats
from auditsvc.search.criteria import Criteria
from auditsvc.search.select import found_events

DATA = Path(__file__).parent.parent / "data"
LOGS = [DATA / "mixed.log", *sorted(DATA.glob("records/*.log"))]


@pytest.fixture(scope="module")
def mixed(common_url):
    """Give a store with a recorded log."""
    load(common_url, (DATA / "mixed.log").read_bytes())
    return common_url


def raw(url, *words):
    """Give what the format `raw` writes."""
    return searching.shown(url, "raw", *words).encode()


NOT_IN_LINES = ("event_id", "seq", "state")
"""What belongs to one store, or says in which order and how completely records came."""


def without_ids(url):
    """Give the rows of all views without what belongs to one store."""
    views = everything(url)
    del views["partials"]  # why an event ended early is not in its lines
    return {
        view: sorted(
            json.dumps({k: v for k, v in row.items() if k not in NOT_IN_LINES}) for row in found
        )
        for view, found in views.items()
    }


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_raw_lines_are_the_event_again(path, tmp_path):
    """Loaded into another store, the lines that `-r` writes give the same rows."""
    one, other = (f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "other"))
    load(one, path.read_bytes())
    load(other, raw(one))
    first, second = without_ids(one), without_ids(other)
    for view in first:
        assert second[view] == first[view], view


def test_ausearch_reads_raw_lines_as_the_log(mixed, tmp_path):
    """What ausearch -i makes of our lines is what it makes of the log's."""
    made = tmp_path / "made.log"
    made.write_bytes(raw(mixed))
    ours, theirs = (
        {line for line in ausearch.run(log, "-i").stdout.split(b"\n") if b"type=EOE" not in line}
        for log in (made, DATA / "mixed.log")
    )
    differing = {serial for line in ours ^ theirs for serial in re.findall(rb":([0-9]+)\) :", line)}
    # Two execs in several records, and a message with a forged line, whose words are reordered.
    assert differing == {b"36200", b"36268", b"36183"}


NAMES = {
    "list": "3.0.9 does not know the list io_uring",
    "old-ses": "ausearch leaves it a number",
    "uring_op": "ausearch leaves it a number",
    "per": "we leave it a number",
    "a0": "we have no words for exit statuses and personalities; ausearch none for clone",
    "a1": "the flags of a socket, and symlinkat's directory, have words with us only",
    "a2": "we have no words for protocols and IPC; ausearch none for unlinkat",
    "saddr_fam": "the address is shown in another way",
    "path": "an abstract socket begins with @",
    "mode": "of openat2 ausearch shows 000,000",
    "name": "bytes are escaped as \\xHH, not in octal",
    "acct": "the same",
    "exe": "a field is planted in a value",
    "x0Aexe": "the same",
    "x0aexe": "the same",
    "uid": "the words of a message with a planted field are in another order",
    "terminal": "the same",
    "res": "the same",
    "code": "of seccomp, 0 is kill, as with 3.0.9; 4.0.2 says kill-thread",
    "a1_len": "an exec's arguments are joined",
    "argc": "the same",
}
ARGUMENT = re.compile(r"a[0-9]+(\[[0-9]+\])?")


def fields(line):
    """Give names and values in an interpreted line; values may have spaces."""
    pairs = re.findall(r"([\w-]+(?:\[\d+\])?)=(.*?)(?= [\w-]+(?:\[\d+\])?=|\s*$)", line)
    return {name: value.strip() for name, value in pairs}


def test_interpret_says_what_ausearch_says(mixed):
    """Each field of each record is in the same words, but for the named ones."""
    theirs = ausearch.run(DATA / "mixed.log", "-i").stdout.decode(errors="backslashreplace")
    theirs, ours = find(theirs), find(searching.shown(mixed, "interpret"))
    assert len(theirs) - len(ours) == 3  # of execs in several records
    same = set(theirs) & set(ours)
    assert len(same) > 0.85 * len(ours)
    differing = set()
    for line in set(theirs) - same:
        head = line.partition(" : ")[0]
        near = [each for each in set(ours) - same if each.startswith(f"{head} :")]
        best = min(near, key=lambda each: len(fields(each).items() ^ fields(line).items()))
        differing |= {name for name, _ in fields(line).items() ^ fields(best).items()}
    assert {name for name in differing if not ARGUMENT.fullmatch(name)} <= NAMES.keys()


def find(text):
    """Give the lines of records, without EOE."""
    return [
        line.rstrip()
        for line in text.splitlines()
        if line.startswith("type=") and "type=EOE" not in line
    ]


def test_csv_has_ausearch_s_columns(mixed):
    """The header is ausearch's with all its options, and actions and results are the same."""
    extra = ("--extra-keys", "--extra-labels", "--extra-obj2", "--extra-time")
    theirs = ausearch.run(DATA / "mixed.log", "--format", "csv", *extra).stdout
    ours = searching.shown(mixed, "csv", extra=[True] * 4)
    texts = theirs.decode(errors="backslashreplace"), ours
    one, other = (list(csv.reader(io.StringIO(text))) for text in texts)
    assert one[0] == other[0]
    theirs, ours = (
        {row[11]: dict(zip(one[0], row, strict=False)) for row in found[1:]}
        for found in (one, other)
    )
    named = 0
    for serial, row in theirs.items():
        if row["EVENT"] != "SYSCALL" or row["ACTION"].startswith("triggered"):
            continue
        same = ("DATE", "TIME", "MILLI", "SESSION", "SUBJ_PRIME", "SUBJ_SEC", "SUBJ_KIND", "KEY")
        for column in (*same, "ACTION", "RESULT"):
            if (row["ACTION"], ours[serial]["ACTION"]) not in DIFFERENT_ACTIONS:
                assert ours[serial][column] == row[column], (serial, column)
        named += 1
    assert named > 50


DIFFERENT_ACTIONS = {
    ("killed-list-of-pids", "killed-pid"),
    ("made-block-device", "made-device"),
}


def test_every_call_has_an_action(mixed):
    """No call of a recorded log is without a verb of its own."""
    written = searching.shown(mixed, "csv", "-m", "SYSCALL")
    actions = [row["ACTION"] for row in csv.DictReader(io.StringIO(written))]
    assert len(actions) == 162
    assert all(actions)
    assert not [each for each in actions if each.startswith("triggered")]


HOSTILE = [
    "\x1b[2J\x1b]0;gone\x07",
    "one\ntype=SYSCALL msg=audit(1.000:1): forged",
    "a\r\n----\ntime->Mon",
    "\u202egnp.exe \u200b",
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "+1",
    "-2+3",
    "a,b;c\"d'e",
    "\x9b31m\x85",
    "bad\udcff\udcfe",
    "<script>alert(1)</script>",
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Give a store with an event for each hostile text."""
    url = f"sqlite:///{tmp_path_factory.mktemp('hostile')}/store.db"
    hidden = [evil.encode(errors="surrogateescape").hex().upper() for evil in HOSTILE]
    lines = (
        record("USER_CMD", n, f"pid=1 uid=0 auid=0 ses=1 msg='cmd={evil} res=success'")
        + call(n + 100, comm=evil, exe=evil, key=evil)
        + proctitle(n + 100, evil)
        for n, evil in enumerate(hidden)
    )
    load(url, "".join(lines))
    return url


OFFSET = 10
"""The column GMT_OFFSET, which is not a text of the event's."""
BEGINNINGS = {
    "table": " ",
    "text": "At ",
    "default": ("----", "time->", "type="),
    "interpret": ("----", "type="),
    "raw": "type=",
}


@pytest.mark.parametrize("form", BEGINNINGS)
def test_nothing_in_an_event_acts_on_a_terminal(hostile, form):
    """Whatever an event holds: no escape sequence, and no line that is not an event's."""
    out = searching.Terminal()
    shown = re.sub("\x1b\\[[0-9;]*m", "", searching.shown(hostile, form, out=out))  # our own bold
    lines = shown.removesuffix("\n").split("\n")
    assert not [line for line in lines if re.search("[\x00-\x1f\x7f-\x9f\u200b\u202e]", line)]
    if form != "table":  # whose cells may have several lines
        assert all(line.startswith(BEGINNINGS[form]) for line in lines)
    assert not any(
        line.lstrip().startswith(("type=SYSCALL msg=audit(1.", "time->Mon")) for line in lines
    )


def test_nothing_in_an_event_begins_a_line_by_being_long(hostile, monkeypatch):
    """On a narrow terminal a row goes on below itself, where no row begins."""
    monkeypatch.setenv("COLUMNS", "80")
    head, *lines = searching.shown(hostile, "table", out=searching.Terminal()).splitlines()
    assert "object" in head
    assert max(map(cell_len, lines)) <= 80
    begins = [line for line in lines if not line.startswith("    ")]
    assert len(begins) == 2 * len(HOSTILE)
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", line) for line in begins)


def test_a_line_of_tail_is_one_line(hostile):
    """What `tail` shows of an event has no control character, and no end of a line."""
    style = formats.Style("box")
    with found_events(hostile, Criteria()) as found:
        lines = [" ".join(formats.one_line(event, style)) for event in found.events]
    assert len(lines) == 2 * len(HOSTILE)
    assert not [line for line in lines if re.search("[\x00-\x1f\x7f-\x9f\u200b\u202e]", line)]


@pytest.mark.parametrize(
    ("how", "shown"),
    [
        ("tty", "a$b'c\"d;\\x1b"),
        ("shell", "a\\$b\\'c\\\"d;\\\\x1b"),
        ("shell_quote", "a\\$b\\'c\\\"d\\;\\\\x1b"),
    ],
)
def test_escapes(how, shown):
    """The signs of a shell have a backslash before them if that is asked for."""
    assert formats.escaped("a$b'c\"d;\x1b", formats.Escape(how)) == shown


def test_no_cell_of_csv_is_a_formula(hostile):
    """A text that a spreadsheet would run has a ' before it, and each event is one record."""
    _, *found = csv.reader(io.StringIO(searching.shown(hostile, "csv", extra=[True] * 4)))
    assert len(found) == 2 * len(HOSTILE)
    cells = {cell for row in found for place, cell in enumerate(row) if place != OFFSET}
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]


NO_NUMBERS = ["9" * 5000, "-" + "9" * 5000, "--5", "\u0661", "\xb2", "+0", "1_0", "0x0", ""]


def test_what_is_no_number_is_shown_as_it_is(url):
    """In each field that has a name in its place: a user, a group, a call, an errno, a mask."""
    names = ("uid", "gid", "auid", "ouid", "syscall", "exit", "mode", "ses", "sig", "cap_fp")
    load(
        url,
        "".join(
            record(
                "TRUSTED_APP",
                serial,
                f"arch=c000003e {' '.join(f'{name}={value}' for name in names)} end=1",
            )
            for serial, value in enumerate(NO_NUMBERS)
        ),
    )
    lines = searching.shown(url, "interpret").splitlines()
    shown = [line for line in lines if line.startswith("type=TRUSTED_APP")]
    assert len(shown) == len(NO_NUMBERS)
    for line, value in zip(shown, NO_NUMBERS, strict=True):
        for name in ("uid", "gid", "auid", "ouid", "syscall", "exit"):
            assert f" {name}={value} " in line, (name, value[:10])


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_has_every_row(mixed, form):
    """An event in JSON has the rows of all views, and JSON lines the same."""
    found = json.loads(searching.shown(mixed, form, "-a", "35633"))
    event = found[0] if form == "json" else found
    (call,) = rows(mixed, "SELECT * FROM syscalls WHERE serial = 35633")
    assert event["event_id"] == call["event_id"]
    assert event["syscall"] == {
        name: value
        for name, value in recorded("syscalls", call).items()
        if name not in ("event_id", "time", "host", "serial")
    }
    assert [path["name"] for path in event["paths"]] == ["/etc/ld.so.cache"]
    assert event["event"] is None


@pytest.mark.one_database
@pytest.mark.parametrize("form", ["raw", "default", "interpret"])
@pytest.mark.parametrize(
    "text",
    [
        "x=}auid=0 pid={ res=success",
        'FOO=\'a" AUID="root" b\' res=success',
        "pid='1 uid=0 auid=0' uid={ } (mode) ' ses=1SADDR={ x=1 }res=success' hostname= ",
    ],
    ids=["brace", "enriched", "quote"],
)
def test_a_line_that_is_made_again_says_who_it_was(url, form, text):
    """What the kernel said stands before a program's message, and nothing of that behind it."""
    kernels = "pid=500 uid=4242 auid=4243 ses=7"
    load(url, record("USER_LOGIN", 1, f"{kernels} msg='{text}'"))
    line = searching.shown(url, form).splitlines()[-1]
    if form == "interpret":
        kernels = kernels.replace("4242", "unknown(4242)").replace("4243", "unknown(4243)")
    assert f" {kernels} msg='" in line
    assert line.rstrip().endswith("'")
    if form != "raw":
        return
    load(url, line.replace(":1):", ":2):") + "\n", "again")
    seen = rows(url, "SELECT pid, uid, auid, ses, auid_name FROM events ORDER BY serial")
    assert [tuple(row.values()) for row in seen] == [(500, 4242, 4243, 7, None)] * 2
