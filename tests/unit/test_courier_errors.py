"""Heads that go elsewhere: a place that fails, or is slow, keeps none of them back."""

from __future__ import annotations

import os
import socket
import threading
from types import SimpleNamespace

import pytest
from fixtures.evidence import signed
from fixtures.waiting import until

from auditsvc.config import load_settings
from auditsvc.evidence.anchors import read_anchors
from auditsvc.evidence.courier import Appended, Courier
from auditsvc.evidence.head import parse_head


@pytest.fixture
def endpoint():
    """Give a function that starts a server which gives one answer to all, whatever they ask."""
    servers = []

    def start(answer):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        thread = threading.Thread(target=_serve, args=(server, answer), daemon=True)
        thread.start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/heads"

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def _serve(server, answer):
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(1 << 16)
            connection.sendall(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"rubbish\r\n\r\n",
        b"",
        b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 no\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 100_000,
    ],
    ids=["rubbish", "nothing", "an error", "a redirect", "no end"],
)
def test_an_endpoint_that_answers_wrongly_is_named_and_hinders_no_other(tmp_path, endpoint, answer):
    """Each later head still goes to the file, and the endpoint is tried again."""
    courier_goes_on(tmp_path, http=endpoint(answer))


@pytest.mark.parametrize(
    "where",
    [
        {"http": "http://127.0.0.1:99999/"},
        {"http": "http://[::1/"},
        {"http": "http://a b/"},
        {"syslog": "127.0.0.1:99999"},
        {"syslog": f"{'x' * 70}.example"},
        {"syslog": "a..b"},
        {"syslog": ""},
    ],
    ids=str,
)
def test_an_address_that_is_none_is_named_and_hinders_no_other(tmp_path, where):
    """It is an error of that place only."""
    courier_goes_on(tmp_path, **where)


def courier_goes_on(tmp_path, **where):
    """Deliver two heads to a file and to a place that fails."""
    file = tmp_path / "heads"
    settings = load_settings(evidence={"journal": False, "file": file, "deliver_every": 0.1})
    courier = Courier(settings.evidence.model_copy(update=where))
    courier.start()
    courier.take("first")
    until(lambda: courier.problem)
    courier._release()
    courier.finish(120)
    assert not courier.is_alive()
    courier._latest = "second"
    courier._release()
    courier._send()
    assert file.read_text().split() == ["first", "second"]
    (name,) = where.values()
    assert name in courier.problem


def test_the_last_head_goes_though_an_earlier_one_is_being_sent():
    """A run ends while a place is slow: the place gets the end of the run as well."""
    courier = Courier(load_settings(evidence={"journal": False}).evidence)
    is_sending, had = threading.Event(), []

    def send(head):
        had.append(head)
        is_sending.set()
        if head == "first":
            until(courier._ending.is_set)

    courier._places = [SimpleNamespace(name="slow", send=send)]
    courier.start()
    courier.take("first")
    assert is_sending.wait(60)
    courier.take("last")
    courier.finish(120)
    assert had == ["first", "last"]


def test_a_head_that_was_written_in_part_hides_no_other(tmp_path, monkeypatch):
    """A full disk takes some bytes of a head; it is an error, and the next one can be read."""
    heads = signed(tmp_path / "spool", 20)
    place = Appended(tmp_path / "heads")
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
        with pytest.raises(OSError, match="space"):
            place.send(heads[0])
    place.send(heads[0])
    place.send(heads[1])
    found = {head.n for head in read_anchors(tmp_path / "heads")}
    assert found == {parse_head(each).n for each in heads[:2]}


def test_a_head_that_is_nested_without_end_is_none(tmp_path):
    """Who gives heads to `verify --head` cannot end it."""
    (tmp_path / "heads").write_text('{"boot":' + "[" * 200_000 + "]" * 200_000 + "}\n")
    assert read_anchors(tmp_path / "heads") == []
