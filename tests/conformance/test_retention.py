"""Retention: whole days go with all that belongs to them, and nothing else does."""

from __future__ import annotations

import pytest
from fixtures import days
from fixtures.days import NOW, TODAY, contents, dangling, log, prune, text_of, unused
from fixtures.logs import Pipe, balanced, ledger, load, rows
from fixtures.repeats import seeds

from auditsvc.store import open_store


@pytest.fixture
def twin(request, url, tmp_path, monkeypatch):
    """Give the URL of a second store with the same secret: its rows have the same ids."""
    if url.startswith("sqlite"):
        import shutil

        shutil.copy(tmp_path / "store.db", tmp_path / "twin.db")
        yield f"sqlite:///{tmp_path}/twin.db"
        return
    with request.getfixturevalue("postgres_server").database(url) as made:
        yield made


@pytest.mark.parametrize("seed", seeds(3, 60))
def test_a_pruned_store_equals_one_that_never_had_those_days(url, twin, seed):
    """All views, and the dimension rows behind them, whatever kinds of events the days had."""
    chance = days.chance(seed)
    last = range(TODAY - 6, TODAY + 1)
    some = [day for day in last if chance.random() < 0.8] + [TODAY]
    made = log(chance, set(some), each=chance.randrange(1, 30))
    keep = chance.randrange(1, 6)
    kept = {day for day in some if day >= TODAY - keep}
    load(twin, text_of(made, kept), kind=chance.choice(("file", "spool")))
    pipe = Pipe(url, kind=chance.choice(("file", "spool")), batch=3000)
    pipe.load(text_of(made))
    job = prune(pipe.store.database, keep=f"{keep}d")
    pipe.close()
    gone = {day: sum(d == day for d, _ in made) for day in set(some) - kept}
    assert job.events == gone
    assert days.pruned_events(url) == gone
    assert dangling(url) == []
    assert unused(url) == {}
    ours, theirs = contents(url), contents(twin)
    kinds = {row[1] for row in ours.views.pop("origins")}
    assert len(kinds) <= 1
    theirs.views.pop("origins")
    assert ours.views == theirs.views
    assert ours.dimensions == theirs.dimensions
    assert balanced(url)
