"""The store that a spool was loaded into: no new one replaces it, and losses are reported."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.logs import opening, rows
from sqlalchemy import create_engine

from auditsvc.errors import AbsentError, StoreError
from auditsvc.ingest.known_store import KnownStore
from auditsvc.store import Source, open_store
from auditsvc.store.databases import parse_url
from auditsvc.store.schema import FACTS, source

MIXED = Path(__file__).parents[1] / "data/mixed.log"


def path_of(url):
    """Give the file of an SQLite store; None for another."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else None


def take_away(url):
    """Delete the store."""
    if path := path_of(url):
        path.unlink()
        return
    engine = create_engine(parse_url(url))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()


def empty(url):
    """Replace it by an empty file or database."""
    take_away(url)
    if path := path_of(url):
        path.touch(0o600)


def put_another(url):
    """Replace it by another store."""
    take_away(url)
    open_store(url).close()


@pytest.fixture
def spool(tmp_path):
    """Give the folder of a spool."""
    return tmp_path / "spool"


@pytest.fixture
def known(spool, url):
    """Give a store that the spool knows."""
    known = KnownStore(spool, url)
    assert not known.is_known
    known.open(remember=True).close()
    assert known.is_known
    return known


def test_a_store_that_is_known_opens(known):
    """Repeatedly, and also for a program that only reads which store is known."""
    for remember in (True, False):
        known.open(remember=remember).close()


def test_who_does_not_fill_it_from_the_spool_leaves_no_trace(spool, new_url):
    """`ingest` into any store makes no folder of a spool."""
    KnownStore(spool, new_url).open(remember=False).close()
    assert not spool.exists()


@pytest.mark.parametrize("spoil", [take_away, empty, put_another])
@pytest.mark.parametrize("remember", [True, False])
def test_none_is_made_anew_where_one_was_known(known, spool, url, spoil, remember):
    """A store that is missing, empty or another one is refused, with a hint."""
    spoil(url)
    with pytest.raises(StoreError, match=r"restore it.*delete .*spool/store\.json") as caught:
        known.open(remember=remember)
    assert "\n" not in str(caught.value)
    if spoil is not put_another:
        with pytest.raises(AbsentError):  # nor was it made by trying
            open_store(url, create=False)
    (spool / "store.json").unlink()
    known.open(remember=True).close()


def test_an_empty_store_is_none(new_url):
    """With create=False no schema is made in an empty file or database."""
    if path := path_of(new_url):
        path.touch(0o600)
    with pytest.raises(AbsentError, match="there is no store"):
        open_store(new_url, create=False)


@pytest.mark.parametrize("verb", [["ingest", MIXED], ["migrate"]])
def test_no_verb_makes_one_anew(known, spool, url, verb):
    """Neither reading a log nor `migrate` makes one."""
    take_away(url)
    environment = os.environ | {"AUDITSVC_SPOOL__DIRECTORY": str(spool)}
    done = commands.run(*verb, "--store", url, environment=environment, text=True)
    assert done.returncode == 1
    assert "there is no store" in done.stderr
    assert done.stderr.count("\n") == 1
    with pytest.raises(AbsentError):
        open_store(url, create=False)
    assert known.is_known


def at(segment, position):
    """Give a source of a store that ends there."""
    return Source(1, "spool", "s", segment, position, b"", 0)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (("", 0), True),
        (("2", 100), True),
        (("3", 99), True),
        (("3", 100), False),
        (("3", 101), False),
        (("10", 0), False),
        (("damaged", 5), True),
    ],
)
def test_a_store_that_is_behind_is_told(known, now, told):
    """The store's checkpoint is compared with the position that was committed, as numbers."""
    known.reached(3, 100)
    source = at(*now)
    assert ("lost rows" in known.compare(source)) == told
    known.reached(int(now[0]) if now[0].isdecimal() else 0, now[1])
    assert known.compare(source) == ""  # it is told once


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"x": 1}', '{"x": {}}', '{"x": {"identity": 5}}', "[" * 5000, "\xff"]
)
def test_a_damaged_file_is_no_leave_to_begin_anew(known, spool, url, text):
    """Its content is unknown, so nothing is made or overwritten until an administrator decides."""
    (spool / "store.json").write_bytes(text.encode("latin-1"))
    take_away(url)
    with pytest.raises(StoreError, match=r"store\.json.* is damaged; .*delete the file"):
        known.open(remember=True)


def test_stores_at_other_places_are_other_stores(known, spool, tmp_path):
    """A setting with a new URL makes a new store, and the old one stays known."""
    other = KnownStore(spool, f"sqlite:///{tmp_path}/other.db")
    other.open(remember=True).close()
    other.reached(7, 7)
    assert known.is_known
    assert known.compare(at("", 0)) == ""


def test_the_secret_is_not_given_away(known, spool, url):
    """The file says which store it is, not the key of its ids."""
    with open_store(url) as store:
        assert store.secret.hex() not in (spool / "store.json").read_text()
    assert (spool / "store.json").stat().st_mode & 0o777 == 0o600
    assert known.is_known


@pytest.mark.parametrize("spoil", [take_away, put_another])
def test_a_file_that_is_replaced_while_it_is_open_takes_no_rows(tmp_path, spoil):
    """SQLite would continue to write into a deleted file: the commit is refused instead."""
    url = f"sqlite:///{tmp_path}/store.db"
    with open_store(url) as store:
        source = store.source("spool", "s")
        spoil(url)
        with pytest.raises(StoreError, match="taken away or replaced"):
            store.source("spool", "another")
    assert source.id


# --- the service ------------------------------------------------------------------------------


def run(tmp_path, log):
    """Run the service on a log; gives it when it has ended."""
    return commands.fed(
        log.encode(),
        *("run", "--source", "stdin", "--store", f"sqlite:///{tmp_path}/db/store.db"),
        environment=os.environ
        | {
            "AUDITSVC_STATE_DIRECTORY": str(tmp_path / "state"),
            "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run"),
        },
    )


@pytest.fixture
def served(tmp_path):
    """Give a folder in which a service has stored two calls."""
    done = run(tmp_path, opening(1) + opening(2))
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_the_service_makes_no_store_anew(served):
    """One line says what is missing; the spool stays."""
    (served / "db/store.db").unlink()
    before = {path.name for path in (served / "state/spool").iterdir()}
    done = run(served, opening(3))
    assert done.returncode == 1
    assert b"there is no store" in done.stderr
    assert b"delete" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (served / "db/store.db").exists()
    assert before <= {path.name for path in (served / "state/spool").iterdir()}


@pytest.mark.parametrize(
    "how",
    [
        "an older copy",
        "an emptied store",
        pytest.param("a lost write-ahead log", marks=pytest.mark.long),
    ],
)
def test_the_service_tells_rows_that_are_gone(served, how):
    """In the log and in the evidence; what the spool still has is loaded again, each event once."""
    url, path = f"sqlite:///{served}/db/store.db", served / "db/store.db"
    if how == "an emptied store":
        with open_store(url) as store, store.engine.begin() as connection:
            for table in (*FACTS, source):
                connection.execute(table.delete())
    else:
        # A log that was not moved to the file yet, and is deleted, leaves just such a copy.
        shutil.copy(path, served / "copy")
        assert run(served, opening(3)).returncode == 0
        for each in (served / "db").iterdir():
            each.unlink()
        shutil.copy(served / "copy", path)
    done = run(served, opening(4))
    assert done.returncode == 0, done.stderr
    assert b"has lost rows" in done.stderr
    said = "SELECT count(*) AS n FROM events WHERE json_extract(fields, '$.state') = 'lost-rows'"
    assert rows(url, said) == [{"n": 1}]
    serials = [row["serial"] for row in rows(url, "SELECT serial FROM syscalls ORDER BY serial")]
    assert serials == ([1, 2, 4] if how == "an emptied store" else [1, 2, 3, 4])
    assert b"has lost rows" not in run(served, "").stderr


def test_a_store_is_written_as_before(served):
    """A service that is started again continues without a message."""
    done = run(served, opening(3))
    assert done.returncode == 0
    assert b"lost rows" not in done.stderr
    found = rows(f"sqlite:///{served}/db/store.db", "SELECT serial FROM syscalls ORDER BY serial")
    assert found == [{"serial": n} for n in (1, 2, 3)]
