"""`auditsvc.access`: the service takes notes of accesses; nobody forges, blocks or floods them."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
from pathlib import Path

import pytest
from fixtures.other_user import NOBODY, as_user, reachable_folder
from fixtures.repeats import examples
from fixtures.waiting import until
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from auditsvc.access import client, pending, place
from auditsvc.access import listener as rooms
from auditsvc.access.client import recording
from auditsvc.access.listener import Listener
from auditsvc.cli.recording import typed
from auditsvc.config import load_settings
from auditsvc.errors import AuditsvcError, QueryError
from auditsvc.record.daemon import DaemonRecords
from auditsvc.record.fields import parse_fields
from auditsvc.record.line import parse_line

STORE = "postgresql://ann@127.0.0.1:1/nothing"
"""Nobody answers there."""
ACCEPT, CLOSE, CONFIG = "DAEMON_ACCEPT", "DAEMON_CLOSE", "DAEMON_CONFIG"


class Notes:
    """The lines that the service has written."""

    def __init__(self):
        self.lines = []

    def fields(self, kind=None):
        """Give type and fields of each, of one type alone if it is named."""
        found = []
        for line in self.lines:
            assert line.count(b"\n") == 1
            parsed = parse_line(line[:-1])
            fields = {
                name.decode(): None if value is None else value.decode(errors="surrogateescape")
                for name, value in parse_fields(1200, parsed.body)
            }
            if kind in (None, parsed.type_name.decode()):
                found.append(fields)
        return found


@pytest.fixture
def notes():
    """Give what is written."""
    return Notes()


@pytest.fixture
def run_folder():
    """Give a runtime directory that others can reach."""
    with reachable_folder() as outer:
        folder = outer / "run"
        folder.mkdir(mode=0o700)
        yield folder


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """Wait for the service as long as a busy host takes."""
    monkeypatch.setattr(client, "_SECONDS", 60.0)


@pytest.fixture
def service(run_folder, notes):
    """Run the service's side."""
    made = Listener(run_folder, STORE, DaemonRecords(), notes.lines.append)
    made.start()
    yield made
    made.finish()


@pytest.fixture
def settings(run_folder):
    """Give the settings of a reader of the service's own store."""
    return load_settings(runtime_directory=run_folder, store=STORE)


def connect(folder):
    """Connect as any program can."""
    made = place.new_socket()
    made.settimeout(60)
    with place.address(folder) as name:
        made.connect(name)
    return made


ASKED = {"command": "query", "options": "", "sql": "SELECT 1", "store": STORE}


def ask(folder, **asked):
    """Say what is asked; give the answer and the connection."""
    made = connect(folder)
    try:
        made.send(place.to_message(ASKED | asked))
        return json.loads(made.recv(1 << 16)), made
    except OSError:  # who is refused may be cut off before the answer
        return {"taken": False}, made


def is_ended(connection):
    """Whether the other end closes the connection, with or without having read all."""
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


@pytest.mark.usefixtures("service")
def test_an_access_has_a_beginning_and_an_end(settings, notes):
    """Both have one id; the end has the number of rows, and how it ended."""
    with recording(settings, "query", "--since -1h", "SELECT 1") as access:
        assert access.reason == ""
        (begun,) = notes.fields()  # in the log before the first row is read
        assert list(access.counted(iter("abc"))) == ["a", "b", "c"]
    until(lambda: len(notes.lines) == 2)
    (ended,) = notes.fields(CLOSE)
    assert begun["op"] == ended["op"] == "access"
    assert begun["id"] == ended["id"]
    assert (begun["command"], begun["data"], begun["cmd"], begun["file"]) == (
        *("query", "--since -1h", "SELECT 1"),
        STORE,
    )
    assert (begun["uid"], begun["pid"], begun["acct"]) == ("0", str(os.getpid()), "root")
    assert begun["auid"] == Path("/proc/self/loginuid").read_text()
    assert (ended["rows"], ended["data"]) == ("3", "done")


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    ("error", "how"),
    [
        (QueryError("no such column: x"), "failed: no such column: x"),
        (KeyboardInterrupt(), "interrupted"),
        (BrokenPipeError(), "done"),
        (OSError(28, "No space left on device"), "failed: No space left on device"),
        (ZeroDivisionError(), "failed: ZeroDivisionError"),
    ],
)
def test_how_it_ended(settings, notes, error, how):
    """The error's own words; the error goes on."""
    with pytest.raises(type(error)), recording(settings, "query", "", "SELECT x"):
        raise error
    until(lambda: notes.fields(CLOSE))
    assert notes.fields(CLOSE)[0]["data"] == how


@pytest.mark.usefixtures("service")
def test_a_reader_that_is_killed_has_an_end(run_folder, notes):
    """It is not known how; the number of rows is not there."""
    pid = os.fork()
    if not pid:
        ask(run_folder)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    until(lambda: notes.fields(CLOSE))
    (ended,) = notes.fields(CLOSE)
    assert ended["data"] == "unknown"
    assert "rows" not in ended


def test_what_goes_on_when_the_service_stops_has_an_end(service, run_folder, notes):
    """It is not known how it ended; nothing is left of the socket."""
    ask(run_folder)
    service.finish()
    assert [each["data"] for each in notes.fields(CLOSE)] == ["unknown"]
    assert not list(run_folder.iterdir())


@pytest.mark.usefixtures("service")
def test_nobody_writes_for_another(run_folder, notes):
    """Who asks is the kernel's word, whatever the message holds."""
    forged = {"uid": 0, "auid": 0, "pid": 1, "acct": "root", "sql": 'x" uid=0 acct="root'}
    as_user(NOBODY, lambda: ask(run_folder, **forged)[0])
    (begun,) = notes.fields(ACCEPT)
    assert begun["uid"] == str(NOBODY)
    assert begun["acct"] == pwd.getpwuid(NOBODY).pw_name
    assert begun["cmd"] == forged["sql"]


@pytest.mark.usefixtures("service")
def test_an_end_of_another_cannot_be_said(run_folder, notes):
    """A connection ends its own access alone."""
    _, first = ask(run_folder)
    (begun,) = notes.fields(ACCEPT)
    _, other = ask(run_folder, id=begun["id"])
    other.send(json.dumps({"id": begun["id"], "rows": 0, "how": "done"}).encode())
    until(lambda: notes.fields(CLOSE))
    assert [each["id"] for each in notes.fields(CLOSE)] == [notes.fields(ACCEPT)[1]["id"]]
    first.close()


HOSTILE = [
    "SELECT '\ntype=DAEMON_ACCEPT msg=audit(1.000:1): op=access uid=0'",
    "a\0b\r\x1b[2J\x1d",
    "\udc80\udcff of no encoding",
    "half \ud800 a character",
    "éß漢🙂",
    "x" * 100_000,
    "",
    "(null)",
    "3005",
]


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_one_line(run_folder, notes, text):
    """And are read back as they were, up to a bound."""
    answer, _ = ask(run_folder, sql=text, options=text[:1000])
    assert answer["taken"]
    (begun,) = notes.fields()
    assert "uid=0" not in begun
    if "\ud800" in text:
        assert begun["cmd"] == "half \\ud800 a character"
    elif len(text) < 1000:
        assert begun["cmd"] == text
    else:
        assert begun["cmd"].startswith("x" * 16_384 + " (and ")


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("letter", ["x", "\0", "🙂", "\ud800"])
def test_the_largest_text_is_taken(settings, notes, letter):
    """A message has a bound, which no text of ours is beyond."""
    text = letter * 200_000
    with recording(settings, "query", text, text) as access:
        assert access.reason == ""
    assert len(notes.fields(ACCEPT)) == 1


BAD = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"7",
    b'"command"',
    b"{}",
    b"[" * 100_000,
    *(json.dumps(ASKED | {"command": name}).encode() for name in ("", "a b", "x\n", "é", "a" * 99)),
]


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("message", BAD, ids=range(len(BAD)))
def test_what_is_no_access_is_none(run_folder, notes, message):
    """The connection is ended, nothing is recorded, and the next one is."""
    made = connect(run_folder)
    made.send(message)
    if message:
        assert is_ended(made)
    made.close()
    assert ask(run_folder)[0] == {"taken": True, "own": True}
    assert len(notes.fields(ACCEPT)) == 1


@given(st.binary(max_size=200), st.binary(max_size=200))
@examples(20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_do_no_harm(service, run_folder, first, second):
    """Two messages of anything; the next reader is served."""
    made = connect(run_folder)
    for message in (first, second):
        try:
            made.send(message)
        except OSError:
            break
    made.close()
    taken, mine = ask(run_folder)
    mine.close()
    assert taken["taken"] or service._users[0].refused


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("rows", [-1, 1 << 62, float("inf"), float("nan"), "x", [1]])
def test_a_number_of_rows_that_is_none(run_folder, notes, rows):
    """How the access ended is not known then."""
    _, made = ask(run_folder)
    made.send(json.dumps({"rows": rows, "how": "done"}).encode())
    until(lambda: notes.fields(CLOSE))
    assert notes.fields(CLOSE)[0]["data"] == "unknown"


@pytest.mark.usefixtures("service")
def test_a_flood_is_bounded_and_told(run_folder, notes, monkeypatch):
    """Beyond the bound of one user accesses are counted, others are served, the count recorded."""
    monkeypatch.setattr(rooms, "_REPORT_EVERY", 0.0)
    # What a user gets back with time is none here: how many are refused is not the host's speed.
    monkeypatch.setattr(rooms, "_RATE", 0.0)

    def flood():
        return sum(ask(run_folder)[0]["taken"] for _ in range(400))

    taken = as_user(NOBODY, flood)
    assert taken == rooms._BURST
    assert ask(run_folder)[0]["taken"]
    until(lambda: sum(int(each["accesses"]) for each in notes.fields(CONFIG)) == 400 - taken)
    assert {each["of_uid"] for each in notes.fields(CONFIG)} == {str(NOBODY)}


@pytest.mark.usefixtures("service")
def test_open_accesses_are_bounded(run_folder):
    """One user cannot have all connections, and root can always have one."""

    def hold():
        held = [ask(run_folder) for _ in range(rooms._OPEN_OF_ONE + 8)]
        return sum(answer["taken"] for answer, _ in held)

    assert as_user(NOBODY, hold) == rooms._OPEN_OF_ONE
    assert ask(run_folder)[0]["taken"]


@pytest.mark.usefixtures("service")
def test_who_says_nothing_is_not_kept(run_folder, monkeypatch):
    """A connection without a message is ended."""
    monkeypatch.setattr(rooms, "_SILENT_SECONDS", 0.0)
    assert is_ended(connect(run_folder))


@pytest.mark.usefixtures("service")
def test_a_store_of_another_is_not_the_services_own(run_folder):
    """The reader then has to have it recorded there as well."""
    assert ask(run_folder, store="/other.db")[0] == {"taken": True, "own": False}


def test_a_service_that_hangs_blocks_nobody(settings, run_folder, monkeypatch):
    """A socket that nobody serves: after a moment the question is asked, without a record."""
    monkeypatch.setattr(client, "_SECONDS", 0.3)
    hanging = place.new_socket()
    with place.address(run_folder) as name:
        hanging.bind(name)
    hanging.listen(0)
    kept = []
    for _ in range(3):  # the third finds its queue full
        with recording(settings, "query", "", "SELECT 1") as access:
            kept.append(access.reason)
    assert all(kept)
    hanging.close()


def test_a_service_that_answers_too_late_records_nothing_twice(
    settings, run_folder, notes, monkeypatch, tmp_path
):
    """Who has waited long enough has the store record it, if he may; the service sees that."""
    monkeypatch.setattr(client, "_SECONDS", 0.3)
    store = tmp_path / "store.db"
    store.touch()
    late = Listener(run_folder, STORE, DaemonRecords(), notes.lines.append)  # not started yet
    with recording(settings.model_copy(update={"store": f"sqlite:///{store}"}), "query", "", ""):
        pass
    with recording(settings, "query", "", "SELECT 2") as access:
        assert access.reason
        late.start()
        until(lambda: notes.fields(ACCEPT))
    late.finish()
    assert [each["cmd"] for each in notes.fields(ACCEPT)] == ["SELECT 2"]
    assert pending.file_of(f"sqlite:///{store}").read_bytes().count(b"\n") == 2


def test_a_record_can_be_required(settings):
    """Without a record nothing is read."""
    required = settings.model_copy(
        update={"access": settings.access.model_copy(update={"required": True})}
    )
    with (
        pytest.raises(AuditsvcError, match="nothing is read"),
        recording(required, "query", "", ""),
    ):
        pytest.fail("it was read")


def test_a_socket_of_before_is_replaced(run_folder, notes):
    """A service that was killed leaves its socket."""
    left = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with place.address(run_folder) as name:
        left.bind(name)
    left.close()
    made = Listener(run_folder, STORE, DaemonRecords(), notes.lines.append)
    made.start()
    assert ask(run_folder)[0]["taken"]
    made.finish()


def test_a_long_path(tmp_path, notes):
    """A socket's address has 108 bytes, and a folder's path may have more."""
    folder = tmp_path / ("d" * 120)
    made = Listener(folder, STORE, DaemonRecords(), notes.lines.append)
    made.start()
    assert ask(folder)[0]["taken"]
    made.finish()


@pytest.mark.parametrize(
    ("words", "command", "sql", "shown"),
    [
        (["query", "SELECT 1", "--since", "2h ago"], "query", "SELECT 1", "--since '2h ago'"),
        (["query", "--store", "postgresql://u:secret@h/d", "SELECT 1"], "query", "SELECT 1", ""),
        (["search", "--store=postgresql://u:secret@h/d", "-k", "x"], "search", None, "-k x"),
        (["--config", "f", "tail", "-sc", "open"], "tail", None, "-sc open"),
        (["rules", "report", "--days", "3"], "rules_report", None, "--days 3"),
        (["elsewhere"], "query", "SELECT 1", ""),
    ],
)
def test_options_as_they_were_typed(words, command, sql, shown):
    """Without the SQL, and without a URL, which may hold a password."""
    assert typed(words, command, sql) == shown
