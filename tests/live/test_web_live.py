"""`auditsvc web` beside the running service: how soon a row is on the page that follows."""

from __future__ import annotations

import statistics

import pytest
from fixtures.web import Stream, session_of, web_program
from live.caller import calling, rules
from live.programs import fresh_auid
from live.service import Service

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]

_AIM = 0.5
_CALLS, _ROUNDS = 7, 5


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def store(request):
    """Each kind of store; None: the service's own file."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def test_a_row_is_on_the_page_half_a_second_after_its_call(programs, store, tmp_path):
    """The median of several calls, each after the row of the one before.

    Other programs may have the processors for some seconds: the service and the page then wait as
    all others do. So it is the best of some rounds that is held to the aim, and with a machine
    that is free the first one is it.
    """
    auid, medians = fresh_auid(), []
    with (
        Service(tmp_path, rules(auid), store=store) as service,
        web_program(service.store, service.environment) as web,
        calling(programs, auid) as call,
    ):
        base, cookie = session_of(web)
        stream = Stream(f"{base}/events/live?key=asked", cookie | {"accept": "text/event-stream"})
        while not medians or (min(medians) >= _AIM and len(medians) < _ROUNDS):
            taken = []
            for n in range(_CALLS):
                path = f"/nowhere/{len(medians)}-{n}/"
                called = call(path)
                taken.append(stream.came(path) - called)
            medians.append(statistics.median(taken))
        stream.close()
    assert min(medians) < _AIM, medians
