"""Heads go to each place that is set, once; a place that is away is told and tried again."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from fixtures.waiting import until

from auditsvc.config import EvidenceSettings
from auditsvc.evidence.courier import MESSAGE_ID, Courier
from auditsvc.host import journald

HEADS = ['{"head": 1}', '{"head": 2}']


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """Have journald's socket in a folder of its own; it is not there yet."""
    path = tmp_path / "journal/socket"
    monkeypatch.setattr(journald, "SOCKET", path)
    return path


def delivered(settings, *heads):
    """Deliver heads, the last at the end of the run; give what could not be done."""
    courier = Courier(settings)
    courier.start()
    for head in heads:
        courier.take(head)
    courier.finish(120)
    assert not courier.is_alive()
    return courier.problem


def test_the_journal_gets_each_head_that_is_due(journal):
    """The first at once, the last at the end."""
    journal.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs:
        theirs.bind(str(journal))
        theirs.settimeout(60)
        assert delivered(EvidenceSettings(), HEADS[-1]) == ""
        entry = theirs.recv(65536).decode()
    assert f"AUDITSVC_HEAD={HEADS[-1]}\n" in entry
    assert f"MESSAGE_ID={MESSAGE_ID}\n" in entry


def test_without_journald_there_is_no_such_place(journal):
    """A host that has none, in a container or with another init, is not wrong."""
    assert not journal.parent.exists()
    assert delivered(EvidenceSettings(), *HEADS) == ""


@pytest.mark.parametrize("has_folder", [False, True])
def test_a_journal_that_is_asked_for_and_away_is_told(journal, has_folder):
    """Also where nobody asked, if this host has journald and its socket is gone."""
    if has_folder:
        journal.parent.mkdir()
    settings = EvidenceSettings() if has_folder else EvidenceSettings(journal=True)
    assert delivered(settings, *HEADS) == "journal: No such file or directory"


def test_a_file_has_a_line_a_head(tmp_path):
    """It is appended to, 0600."""
    path = tmp_path / "heads"
    for head in HEADS:
        assert delivered(EvidenceSettings(journal=False, file=path), head) == ""
    assert path.read_text().splitlines() == HEADS
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_syslog_host_gets_a_datagram():
    """RFC 3164, by UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.bind(("127.0.0.1", 0))
        theirs.settimeout(60)
        where = f"127.0.0.1:{theirs.getsockname()[1]}"
        assert delivered(EvidenceSettings(journal=False, syslog=where), HEADS[0]) == ""
        assert theirs.recv(65536).decode() == f"<109>auditsvc: head of the audit log: {HEADS[0]}"


class _Taker(BaseHTTPRequestHandler):
    """Takes every second head."""

    def do_POST(self):
        """Answer."""
        taken = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        is_taken = self.server.asked > 1
        if is_taken:
            self.server.taken.append(json.loads(taken))
        self.send_response(204 if is_taken else 503)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


def test_an_endpoint_that_refuses_is_told_and_tried_again():
    """With the newest head: it proves all that were before it."""
    with HTTPServer(("127.0.0.1", 0), _Taker) as server:
        server.asked, server.taken = 0, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/heads"
        courier = Courier(EvidenceSettings(journal=False, http=url))
        courier.start()
        courier.take(HEADS[0])
        until(lambda: courier.problem)
        assert courier.problem.startswith(f"{url}: ")
        courier.take(HEADS[1])
        courier.finish(120)
        assert courier.problem == ""
        assert server.taken == [json.loads(HEADS[1])]
        server.shutdown()
