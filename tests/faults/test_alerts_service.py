"""Alerts of a running service: each cause told once when it begins and once when it is over."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from fixtures.logs import opening
from fixtures.runs import Run, stored
from fixtures.waiting import until

_KEEPS = """
import os, sys
with open(sys.argv[1], "a") as told:
    print(*(os.environ[f"AUDITSVC_ALERT_{what}"] for what in ("CAUSE", "STATE")), file=told)
"""


@pytest.fixture
def posted():
    """A server that keeps what is posted to it; gives its URL and that list."""
    got = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append(f"{told['cause']} {told['state']}")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_store_that_is_away_and_a_gap(tmp_path, posted):
    """By a program and by a webhook; rows follow when the store does."""
    url, got = posted
    told = tmp_path / "told"
    command = [sys.executable, "-c", _KEEPS, str(told)]
    settings = {
        "AUDITSVC_ALERT__EXEC": json.dumps(command),
        "AUDITSVC_ALERT__WEBHOOK": url,
        "AUDITSVC_ALERT__STORE_AWAY": "0.5",
        "AUDITSVC_ALERT__QUIET": "0.5",
    }

    def both(*words):
        until(lambda: told.exists() and sorted(told.read_text().splitlines()) == sorted(words))
        until(lambda: sorted(got) == sorted(words))

    store = tmp_path / "store.db"
    run = Run(tmp_path, f"sqlite:///{store}", **settings)
    run.wait_ready()
    run.feed(20)
    until(lambda: stored(run.url)[0] == 20)
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        run.feed(20)
        both("store begin")
    both("store begin", "store over")
    until(lambda: stored(run.url)[0] == 40)
    run.write(opening(90))  # serials 41 to 89 are missing
    both("store begin", "store over", "gap begin", "gap over")
    assert run.end()[0] == 0
    assert stored(run.url)[0] == 41
