"""A page that follows shows a call of the real kernel soon after it was made."""

from __future__ import annotations

import statistics
import time

import pytest
from fixtures.waiting import until
from fixtures.web import Stream, serving
from live.programs import fresh_auid, rules
from live.service import Service

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_lock")]

_ROUNDS = 5


def test_a_row_is_on_the_page_soon_after_its_call(programs, tmp_path):
    """Each of some calls comes, once; how long it took is printed (docs/decisions/0030)."""
    auid = fresh_auid()
    taken = []
    with Service(tmp_path, rules(auid)) as service, serving(service.store, tmp_path) as served:
        base, _, cookie = served
        stream = Stream(f"{base}/events/live?file=row", cookie)
        try:
            for n in range(_ROUNDS):
                name = tmp_path / f"row{n}-of-this-test"
                programs.run(auid, "/usr/bin/touch", str(name))
                called = time.monotonic()
                until(lambda name=name: str(name) in stream.text)
                taken.append(time.monotonic() - called)
        finally:
            stream.close()
    print(f"a row came {statistics.median(taken):.2f} s after its program had ended: {taken}")
    for n in range(_ROUNDS):
        ids = f"SELECT DISTINCT event_id FROM paths WHERE name LIKE '%row{n}-of-this-test'"
        for row in service.query(ids):
            assert stream.text.count(f'href="/event/{row["event_id"]}"') <= 1
