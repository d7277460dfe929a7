"""Digests of rows: the native core makes those of the reference, and another row has another."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from fixtures import hostile
from fixtures.logs import call, load, opening, path, record
from fixtures.store_changes import change

from auditsvc.decode import make_decoder
from auditsvc.evidence.row_digest import make_digests
from auditsvc.native import is_built
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.databases import open_database

pytestmark = pytest.mark.skipif(not is_built(), reason="the native core was not built")

_NAMES = (
    '"/plain"',
    '"it\'s"',
    b'it\'s "both" \\ of them'.hex(),
    b"tab\tline\nreturn\rbell\x07del\x7f".hex(),
    "na\u00efve \u202e\u200b\u00a0 \U0001f600 \U000e0041".encode().hex(),
    b"\xff\xfe not UTF-8 '\"".hex(),
    "(null)",
    '""',
)
"""As PATH prints them: each kind that repr() writes in another way."""


def _log():
    lines = [opening(serial, second=1_700_000_000 + serial * 40_000) for serial in range(1, 6)]
    for serial, name in enumerate(_NAMES, 10):
        lines.append(call(serial, items=1) + f"{path(serial, 'x')}".replace('"x"', name))
        lines.append(record("USER_CMD", serial + 100, f"pid=1 cmd={name} res=success"))
    lines.append(record("DAEMON_START", 200, "op=start ver=3"))
    return "".join(lines).encode()


@contextmanager
def _opened(url):
    database = open_database(url, read=True)
    database.prepare(create=False)
    try:
        with reading(database) as connection:
            yield database, connection
    finally:
        database.engine.dispose()


def _of_store(url, choice, events):
    sums = {}
    with _opened(url) as (database, connection):
        make_digests(database, choice).add_events(connection, sums, events)
    return sums


def _of_batch(url, batch, choice, without=()):
    sums = {}
    with _opened(url) as (database, connection):
        make_digests(database, choice).add_batch(connection, sums, batch, without)
    return sums


def _decoded(url, log):
    with open_store(url) as store:
        decoder = make_decoder("native", secret=store.secret, host="box")
    decoder.feed(log, 0.0)
    decoder.finish()
    return decoder.take()


_SHAPES = ("contexts", "extra fields", "path fields", "sockets", "field names")
LOGS = {"texts": _log(), **{each: hostile.log(each, 60) for each in _SHAPES}}


def _later(log):
    return log.replace(b"audit(17", b"audit(18")


@pytest.mark.parametrize("name", LOGS)
def test_both_cores_make_the_same_sums(url, name):
    """Of what is stored, of what was decoded, and of a part of it."""
    load(url, LOGS[name])
    batch = _decoded(url, LOGS[name])
    ids = batch.facts.ids()
    expected = _of_store(url, "reference", ids)
    assert sum(one.rows for (table, _), one in expected.items() if table in {"syscall", "event"})
    assert _of_store(url, "native", ids) == expected
    assert _of_batch(url, batch, "native") == expected
    some = set(ids[::2])
    without = _of_batch(url, batch, "native", some)
    assert without == _of_store(url, "reference", [id_ for id_ in ids if id_ not in some])


def test_what_an_earlier_batch_had_is_read_from_the_store(url):
    """The decoder gives a dimension's row once."""
    log = _log()
    load(url, log)
    with open_store(url) as store:
        decoder = make_decoder("native", secret=store.secret, host="box")
    sums, ids = {}, []
    with _opened(url) as (database, connection):
        for line in (log, _later(log)):  # contexts, files, texts: known now
            decoder.feed(line, 0.0)
            decoder.finish()
            batch = decoder.take()
            ids.append(batch.facts.ids())
            # New each time, as if the digests of what came before had been forgotten.
            make_digests(database, "native").add_batch(connection, sums, batch, ())
    load(url, _later(log), name="again")
    assert sums == _of_store(url, "reference", [*ids[0], *ids[1]])


def test_an_event_whose_lines_stand_twice_counts_twice(url):
    """As in two batches: the store, which has it once, knows how often it came."""
    log = b"".join(line for n in range(1, 9) for line in [opening(n).encode()] * (1 + n % 2))
    load(url, log)
    batch = _decoded(url, log)
    ids = batch.facts.ids()
    assert (len(ids), len(set(ids))) == (12, 8)
    some = set(ids[:3])
    rest = [id_ for id_ in ids if id_ not in some]
    for those, left_out in ((ids, ()), (rest, some)):
        twice = [each for each in set(those) if those.count(each) == 2]
        whole = _of_store(url, "reference", those)
        more = _of_store(url, "reference", twice)
        for key, one in more.items():
            whole[key] += one
        for core in ("native", "reference"):
            assert _of_batch(url, batch, core, left_out) == whole


@pytest.mark.parametrize("value", ["'a text'", "1.5", "x'00ff'"])
def test_a_value_that_is_no_number_has_a_digest(tmp_path, value):
    """SQLite takes any in any column: what was altered so is a finding as well, and no error."""
    load(url := f"sqlite:///{tmp_path}/store.db", _log())
    before = _of_store(url, "native", ids := _decoded(url, _log()).facts.ids())
    change(url, f"UPDATE syscall SET a1 = {value} WHERE id = (SELECT min(id) FROM syscall)")
    after = _of_store(url, "native", ids)
    assert after == _of_store(url, "reference", ids)
    assert after != before


def test_a_row_that_refers_to_nothing_has_a_digest(url):
    """Another one: what was deleted shows."""
    load(url, _log())
    before = _of_store(url, "native", ids := _decoded(url, _log()).facts.ids())
    change(url, "DELETE FROM text WHERE value = '/plain'")
    after = _of_store(url, "native", ids)
    assert after == _of_store(url, "reference", ids)
    assert after != before
