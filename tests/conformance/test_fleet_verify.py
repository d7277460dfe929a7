"""`fleet verify`: what a host said, what the lake has, and a host that goes back on its word."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fixtures.fleet_rows import InMemory, batch_row
from fixtures.logs import SECOND

from auditsvc.arrow.reach import EVERYTHING
from auditsvc.evidence.head import Head, parse_head, signature_of
from auditsvc.fleet.lake import Mark
from auditsvc.fleet.verify import heads_of, verify_rows

HOST, STORE = "alpha", "a" * 32
EVENTS = 3


class Signer:
    """Signs heads, each by the key that the one before announced."""

    def __init__(self, spool="spool", store=STORE):
        self.spool, self.store = spool, store
        self.keys = [Ed25519PrivateKey.generate() for _ in range(9)]
        self.heads = []

    def head(self, **other):
        """Give the next head as text."""
        n = len(self.heads) + 1
        values = {
            "n": n,
            "spool": self.spool,
            "host": HOST,
            "segment": 1,
            "end": 100 * n,
            "lines": n,
            "start": "",
            "chain": "",
            "final": False,
            "unseen": 0,
            "synced": True,
            "time": float(n),
            "boot": "b",
            "kept_from": 1,
            "store": {"identity": self.store},
            "previous": self.heads[-1].digest() if self.heads else "",
            "key": self.keys[n].public_key().public_bytes_raw().hex(),
            "next": self.keys[n + 1].public_key().public_bytes_raw().hex(),
        }
        head = Head(**(values | other))
        self.heads.append(replace(head, signature=signature_of(head, self.keys[n])))
        return self.heads[-1].text()


def lake(heads, *, rows=None, store=STORE, **told):
    """Give a table with a batch of EVENTS events for each head."""
    made = []
    for n, head in enumerate(heads, 1):
        says = {"events": EVENTS, "missing": 0, "again": 0, "gone": 0, "head": head} | told
        made.append(batch_row(HOST, store, n, SECOND + n, **says))
        for each in range(EVENTS if rows is None else rows):
            row = {"event_id": 10 * n + each, "type": "SYSCALL", "fields": None}
            made.append(made[0] | row | {"batch": n})
    return made


def mark(n, **values):
    """Give the watermark of n whole batches."""
    return {(HOST, STORE): Mark(**({"n": n, "events": EVENTS * n, "told": EVENTS * n} | values))}


def verified(rows, marks):
    """Verify rows that are in memory."""
    return verify_rows(InMemory(rows).rows(EVERYTHING), marks)


def test_what_is_as_it_was_said_is_proved():
    """Batches, their rows and heads; heads that follow on each other are counted."""
    signer = Signer()
    first, second = signer.head(), signer.head()
    signer.head()
    report = verified(lake([first, first, second, signer.head(), ""]), mark(5))
    assert report.is_proved, report.findings
    assert (report.sources, report.batches, report.events) == (1, 5, 5 * EVENTS)
    assert (report.heads, report.linked) == (4, 1)
    assert [each for each in report.notes if "1 of 5 batches have no head" in each]


def _other_chain():
    signer, other = Signer(), Signer()
    return [signer.head(), signer.head(), other.head()]


def _same_number():
    signer, other = Signer(), Signer()
    return [signer.head(), other.head()]


def _cut():
    signer = Signer()
    first = signer.head()
    return [first, signer.head(end=50)]


def _not_announced():
    signer, other = Signer(), Signer()
    first = signer.head()
    other.head()
    return [first, other.head()]


def _new_spool():
    signer, other = Signer(), Signer(spool="another")
    return [signer.head(), other.head()]


def _forged():
    return [Signer().head().replace('"lines":1', '"lines":2')]


def _other_store():
    return [Signer(store="b" * 32).head()]


def _broken():
    return [Signer().head(broken="line 3 was altered")]


BACK = {
    "an earlier number": (_other_chain, "has number 1, after one with 2"),
    "another with the same number": (_same_number, "is another one with number 1"),
    "an earlier place in the log": (_cut, "earlier place in the log"),
    "another key": (_not_announced, "does not follow on the one before it"),
    "another spool": (_new_spool, "another spool"),
    "a forged head": (_forged, "not signed by its key"),
    "another store": (_other_store, "of another store"),
    "an altered log": (_broken, "line 3 was altered"),
    "no head at all": (lambda: ["{}"], "cannot be read"),
}


@pytest.mark.parametrize("name", BACK)
def test_a_host_that_goes_back_on_its_word_shows(name):
    """Its heads in the lake contradict each other."""
    make, what = BACK[name]
    heads = make()
    report = verified(lake(heads), mark(len(heads)))
    (found,) = report.findings
    assert found.startswith("alpha (aaaaaaaa): ")
    assert f"batch {len(heads)}" in found
    assert what in found


def test_rows_that_are_missing_or_too_many_show():
    """Of each batch the table has as many as it says; each batch is there, once."""
    whole = lake(["", ""])
    cases = {
        "batch 1 has 2 events and says 3": [row for row in whole if row["event_id"] != 10],
        "batch 1 has 4 events and says 3": [*whole, whole[1]],
        "batch 2 is missing": [row for row in whole if row["event_id"] != -2],
        "batch 2 is there 2 times": [*whole, next(r for r in whole if r["event_id"] == -2)],
        "batch 1 has 1 later versions and says 0": [*whole, whole[1] | {"version": 1}],
        "batch 1 has 1 taken back and says 0": [
            *whole,
            whole[1] | {"version": 1, "type": "FLEET_GONE"},
        ],
    }
    for what, rows in cases.items():
        assert verified(rows, mark(2)).findings == [f"alpha (aaaaaaaa): {what}"]
    assert verified(whole, mark(3)).findings == ["alpha (aaaaaaaa): batch 3 is missing"]
    assert "behind the watermark" in verified(whole, mark(1)).findings[0]
    assert "5 events are committed, and 6" in verified(whole, mark(2, events=5)).findings[0]
    assert not verified(lake(["", ""], rows=2, missing=1), mark(2)).findings


def test_what_was_deleted_by_retention_is_a_note():
    """Whole batches, and the old events of later ones; without retention both are findings."""
    rows = [row for row in lake(["", "", ""]) if row["batch"] > 1 and row["event_id"] != 20]
    report = verify_rows(InMemory(rows).rows(EVERYTHING), mark(3), (), "2026-11-01")
    assert not report.findings
    assert "batches before 2 are of days that were deleted" in report.notes[0]
    assert "1 batches had events of days that were deleted" in report.notes[1]
    assert [each.partition(": ")[2] for each in verified(rows, mark(3)).findings] == [
        "batch 1 is missing",
        "batch 2 has 2 events and says 3",
    ]


def test_the_heads_of_the_lake_are_for_the_verification_on_the_host():
    """Each once, in the order of batches; of one host, if it is named."""
    signer = Signer()
    first, second = signer.head(), signer.head()
    rows = InMemory(lake([first, first, "", second])).rows(EVERYTHING)
    assert heads_of(rows) == heads_of(rows, [HOST]) == [first, second]
    assert heads_of(rows, ["beta"]) == []
    assert parse_head(first).is_signed()
