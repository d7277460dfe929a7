"""`auditsvc web` on a store that may not be read, or does not answer: a word, and what to do."""

from __future__ import annotations

import os
import threading

import psycopg
import pytest
from fixtures.logs import SECOND, load, opening
from fixtures.other_user import NOBODY, as_user, reachable_folder
from fixtures.postgres_server import USER
from fixtures.waiting import until
from fixtures.web import Stream, client_of, serving
from psycopg import sql

PAGES = ("/", "/events", "/sql?q=SELECT+1+AS+x", "/who", "/ledger", "/coverage", "/part/logins")


@pytest.fixture
def filled(postgres_url):
    """Give a store that has one event."""
    load(postgres_url, opening(1, "/etc/first", second=SECOND), "first")
    return postgres_url


@pytest.fixture
def stranger(filled, postgres_server):
    """Give the URL of a role that was granted nothing."""
    name, password = "auditsvc_stranger", "w0rd"
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), password)
        )
        yield filled.replace(f"{USER}:{postgres_server.password}", f"{name}:{password}")
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.mark.postgres
def test_a_role_that_may_not_read_is_told_what_it_needs(stranger, tmp_path):
    """Each page, and the stream of one that follows."""
    client = client_of(stranger, tmp_path)
    for page in PAGES:
        answer = client.get(page)
        assert answer.status_code in (400, 503)
        assert "permission" in answer.text
        assert "SELECT on its tables" in answer.text
    assert "SELECT on its tables" in client.get("/events/live").text


@pytest.mark.skipif(os.geteuid() != 0, reason="another user needs root")
def test_a_user_who_may_not_read_the_file_is_told_so(tmp_path):
    """The service's own mode of its store is 0600."""
    with reachable_folder() as folder:
        url = f"sqlite:///{folder}/store.db"
        load(url, opening(1, "/etc/first", second=SECOND), "first")

        def ask():
            client = client_of(url, tmp_path)
            return [(each, client.get(each)) for each in PAGES]

        shown = as_user(NOBODY, lambda: [(p, a.status_code, a.text) for p, a in ask()])
    for page, status, text in shown:
        assert status == 503, page
        assert "as a user who may read it" in text, page


@pytest.mark.postgres
def test_tables_that_somebody_keeps_locked(filled, tmp_path):
    """A page says so after its time, and holds up nothing that needs no table; a stream goes on."""
    with (
        serving(filled, tmp_path) as (base, _, cookie),
        psycopg.connect(filled) as locking,
    ):
        stream = Stream(f"{base}/events/live", {"accept": "text/event-stream"} | cookie)
        client = client_of(filled, tmp_path, seconds=0.5)
        locking.execute("LOCK TABLE syscall, event IN ACCESS EXCLUSIVE MODE")
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(client.get("/events?since=2025-06-01"))
        )
        asking.start()
        assert client.get("/static/web.css").status_code == 200
        asking.join(60)
        assert "took longer than" in answers[0].text
        locking.rollback()
        patient = client_of(filled, tmp_path)
        assert patient.get("/events?since=2025-06-01").status_code == 200
        load(filled, opening(2, "/etc/second", second=SECOND + 1), "second")
        until(lambda: "/etc/second" in stream.text)
