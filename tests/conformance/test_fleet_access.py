"""What the fleet's object store and catalog let whom do, and which answers are believed."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fixtures.lake import OF_ONE, differences, ship
from fixtures.logs import load, opening
from fixtures.seaweed import keys_file

from auditsvc.config import load_settings
from auditsvc.errors import FleetError
from auditsvc.fleet import lake as tables
from auditsvc.fleet.commit import Committer
from auditsvc.fleet.inbox import Inbox
from auditsvc.fleet.names import object_of
from auditsvc.fleet.query import run_fleet_query
from auditsvc.fleet.verify import verify_lake


def test_a_hosts_key_can_only_add_below_its_prefix(lake, tmp_path):
    """It reads nothing, lists nothing, and writes nothing of others."""
    keys = keys_file(tmp_path / "web1.keys", "web1", OF_ONE)
    settings = lake.host(tmp_path, "web1", shard="keys", credentials=keys)
    load(settings.store, opening(1))
    assert ship(settings).batches == 1
    own = Inbox(settings.fleet)
    with pytest.raises(FleetError, match="AccessDenied"):
        own.put(object_of("keys", "web2", "0" * 32, 1), b"x")
    with pytest.raises(FleetError, match="AccessDenied"):
        list(own.names())
    with pytest.raises(FleetError, match="AccessDenied"):
        own.get(object_of("keys", "web1", "0" * 32, 1))
    with pytest.raises(Exception, match=r"(?i)no table|forbidden|denied"):
        lake.open(credentials=keys).scan().to_arrow()


def test_a_readers_key_reads_the_table_and_nothing_else(lake, tmp_path):
    """`query` and `verify` need no more; the inbox and the table cannot be changed with it."""
    settings = lake.host(tmp_path, "web1")
    load(settings.store, opening(1))
    lake.ship(settings)
    lake.commit()
    keys = keys_file(tmp_path / "analyst.keys", "analyst", OF_ONE)
    of_reader = lake.host(tmp_path, "web1", credentials=keys, bucket=None)
    with run_fleet_query(of_reader, "SELECT host, count(*) FROM syscalls GROUP BY host") as result:
        assert list(result) == [("web1", 1)]
    assert verify_lake(of_reader.fleet).is_proved
    given = lake.host(tmp_path, "web1", credentials=keys).fleet
    for refused in (
        lambda: list(Inbox(given).names()),
        lambda: Inbox(given).put(object_of(given.shard, "web1", "0" * 32, 1), b"x"),
        lambda: lake.open(credentials=keys).append(lake.rows()),
        lambda: tables.create_table(
            load_settings(
                fleet=dict(lake.given) | {"credentials": keys, "table": "auditsvc.new"}
            ).fleet
        ),
    ):
        with pytest.raises(Exception, match=r"(?i)denied|forbidden|not authorized"):
            refused()
    assert len(lake.rows()) == 2


def test_only_init_makes_the_table(lake_server):
    """Whoever else finds none says what to do; a second init changes nothing."""
    given = load_settings(fleet=lake_server | {"table": "auditsvc.nowhere"}).fleet
    with pytest.raises(FleetError, match="auditsvc fleet init"):
        Committer(given)
    assert tables.create_table(given) is True
    assert tables.create_table(given) is False
    table = tables.open_table(given)
    assert table.properties["commit.retry.num-retries"] == "0"
    assert [each.name for each in table.spec().fields] == ["day"]


class _Page(BaseHTTPRequestHandler):
    """Answers all with a page, as a proxy does that wants a login."""

    def _answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", "20")
        self.send_header("Last-Modified", "Mon, 30 Nov 2026 10:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"<html>Log in!</html>")

    do_GET = do_HEAD = do_PUT = do_POST = _answer  # noqa: N815 - names of http.server

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def page():
    """Give the address of a server that has one page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


def test_a_page_in_the_place_of_an_answer_is_not_believed(lake, page, tmp_path):
    """A batch that no object store took stays to be shipped; nothing ends with a traceback."""
    settings = lake.host(tmp_path, "web1")
    load(settings.store, opening(1))
    away = lake.host(tmp_path, "web1", endpoint=page, catalog=page)
    with pytest.raises(FleetError, match="not that of an object store"):
        ship(away)
    with pytest.raises(FleetError, match=page):
        list(Inbox(away.fleet).names())
    with pytest.raises(FleetError, match=page):
        tables.open_table(away.fleet)
    assert lake.ship(settings).batches == 1
    lake.commit()
    assert differences(lake, [settings]) == []


def test_a_page_in_the_place_of_a_file_of_the_table_is_not_committed(lake, page, tmp_path):
    """Else rows would be gone that hosts had shipped: a batch in the table is deleted."""
    settings = lake.host(tmp_path, "web1")
    load(settings.store, opening(1))
    assert lake.ship(settings).batches == 1
    away = lake.host(tmp_path, "web1", endpoint=page).fleet
    committer = Committer(away, shards=[away.shard], inbox=lake.inbox)
    with pytest.raises(FleetError, match="is not what was written"):
        committer.step()
    assert len(lake.waiting()) == 1
    assert tables.watermarks(lake.open()) == {}
    lake.commit()
    assert differences(lake, [settings]) == []
