"""`story` says in words what each event did, on both databases, as `search --format text` does.

The verbs and words stand in `auditsvc.tables` once. The views use them in SQL, search in Python:
both are held equal here, over recorded logs, over generated ones, and over hostile names.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fixtures.logs import call, end, load, path, record, rows
from fixtures.report_log import report_log

from auditsvc.search import interpret
from auditsvc.search.criteria import Criteria
from auditsvc.search.select import found_events
from auditsvc.search.summary import summary
from auditsvc.tables import arguments, effects, names, shapes, verbs

DATA = Path(__file__).parent.parent / "data"
SPOKEN = "SELECT event_id, sentence FROM story"
CWD = 0xFFFFFFFFFFFFFF9C
X86_64 = 0xC000003E


@pytest.fixture
def ids(monkeypatch):
    """Let search show users as the views do: by their ids."""
    monkeypatch.setattr(interpret, "user", str)
    monkeypatch.setattr(interpret, "group", str)
    interpret.argument.cache_clear()
    yield
    interpret.argument.cache_clear()


def in_memory(url):
    """Give the sentences that search makes, by event."""
    with found_events(url, Criteria()) as found:
        return {event.id: " ".join(summary(event).sentence()) for event in found.events}


def in_sql(url):
    """Give the sentences of the view, by event."""
    return {row["event_id"]: row["sentence"] for row in rows(url, SPOKEN)}


def number(name, arch=X86_64):
    """Give the number of a call."""
    return next(nr for nr, each in names.syscalls(arch).items() if each == name)


def made(serial, name, *, arch=X86_64, more="", **fields):
    """Give an event with a call of this name."""
    line = call(serial, nr=number(name, arch), arch=f"{arch:x}", **fields)
    return line + more + end(serial)


# --- the verbs -----------------------------------------------------------------------------


def test_every_call_and_type_has_a_verb():
    """Those of every architecture, and the calls that are in socketcall and ipc."""
    calls = {name for arch in names.arches() for name in names.syscalls(arch).values()}
    parts = {name for of in arguments.PARTS.values() for name in of.values()}
    assert calls | parts <= set(verbs.CALLS)
    assert set(names.record_types().values()) <= set(verbs.TYPES)


def test_what_is_said_of_calls_is_said_of_calls_that_exist():
    """A call that is spelled wrongly would have no effect."""
    for table in (effects.FILES, effects.CONNECTIONS, effects.CHANGES, effects.SECOND):
        assert set(table) <= set(verbs.CALLS)
    assert set(effects.LINKS) | set(effects.OBJECT) <= set(verbs.CALLS)
    assert set(effects.CHANGES_BY_TYPE) <= set(verbs.TYPES)
    assert {call for call, _ in arguments.ARGUMENTS} <= set(verbs.CALLS)
    # An argument that is the second object has words.
    assert not [c for c in effects.SECOND.items() if c not in arguments.ARGUMENTS]


@pytest.mark.usefixtures("ids")
def test_a_recorded_log_is_told_in_the_same_sentences(url):
    """Each event has a sentence and a verb of its own, in the view as in search."""
    load(url, (DATA / "mixed.log").read_bytes())
    told = in_sql(url)
    assert len(told) == 170
    assert told == in_memory(url)
    assert rows(url, "SELECT action FROM story WHERE action LIKE 'made-%'") == []


# An enriched log has names of users, which search shows; the views show ids.
RECORDS = [each for each in sorted(DATA.glob("records/*.log")) if each.stem != "enriched"]


@pytest.mark.one_database
@pytest.mark.usefixtures("ids")
def test_records_of_each_type_are_told_in_the_same_sentences(url):
    """Also those that are not whole, and those that no kernel writes."""
    for log in RECORDS:
        load(url, log.read_bytes(), name=log.stem)
    assert in_sql(url) == in_memory(url)


@pytest.mark.usefixtures("ids")
def test_a_log_with_every_type_is_told_in_the_same_sentences(url):
    """Accounts, denials, sessions, virtual machines and all others."""
    load(url, report_log())
    assert in_sql(url) == in_memory(url)


ADDRESSES = ("0200003500000000C00002070000000000", "0A0001BB00000000", "01002F72756E2F78")
FILES = ("/etc/passwd", "new", "./here", "../up", ".", "a/b")
NAMETYPES = ("NORMAL", "PARENT", "CREATE", "DELETE", "UNKNOWN")
OPS = ("add_rule", "remove_rule", "set")


class Drawn:
    """Draws events with any call of any machine, with any arguments and some records."""

    def __init__(self, seed):
        self.chance = random.Random(seed)

    def log(self, count):
        """Give a log of so many events."""
        return "".join(self.event(serial) for serial in range(1, count + 1))

    def argument(self):
        """Give 64 bits: any, few, or those of AT_FDCWD."""
        bits = self.chance.choice((3, 7, 12, 31, 64))
        return self.chance.choice(
            (self.chance.getrandbits(bits), self.chance.getrandbits(bits), CWD)
        )

    def event(self, serial):
        """Give an event."""
        pick, maybe = self.chance.choice, self.chance.random
        arch = pick(sorted(names.arches()))
        nr = pick([*names.syscalls(arch), 1000])
        if maybe() < 0.3:  # those whose arguments have words
            nr = pick([n for n, each in names.syscalls(arch).items() if each in SPOKEN_CALLS])
        result = pick((0, 3, -1, -13, -115, -114, -4095, None))
        fields = {f"a{n}": f"{self.argument():x}" for n in range(4)}
        fields |= {name: pick((0, 1000, 4294967295)) for name in ("auid", "uid", "euid")}
        fields["success"] = None if result is None else "yes" if result >= 0 else "no"
        before = ""
        if maybe() < 0.1:
            told = f"auid=1 ses=1 op={pick(OPS)} key={pick(('k', '(null)'))} list=4 res=1"
            before = record("CONFIG_CHANGE", serial, told)
        lines = [before, call(serial, nr=nr, arch=f"{arch:x}", exit=result, **fields)]
        if maybe() < 0.1:
            lines.append(record("KERN_MODULE", serial, 'name="dummy"'))
        if maybe() < 0.3:
            lines.append(record("SOCKADDR", serial, f"saddr={pick(ADDRESSES)}"))
        if maybe() < 0.3:
            target = 'opid=77 oauid=-1 ouid=0 oses=-1 ocomm="victim"'
            lines.append(record("OBJ_PID", serial, target))
        if maybe() < 0.7:
            lines.append(record("CWD", serial, pick(('cwd="/root"', 'cwd="/"'))))
        for item in range(pick((0, 1, 2, 3))):
            line = path(serial, pick(FILES), item)
            mode = pick(("0100644", "040755", "041777", "0140777"))
            line = line.replace("nametype=NORMAL", f"nametype={pick(NAMETYPES)}")
            lines.append(line.replace("mode=0100644", f"mode={mode}"))
        return "".join(lines) + end(serial)


SPOKEN_CALLS = {name for name, _ in arguments.ARGUMENTS} | {"socketcall", "ipc"}
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 30))]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.usefixtures("ids")
def test_any_call_is_told_in_the_same_words(url, seed):
    """Whatever the arguments and records are: the sentence, each argument, each number."""
    load(url, Drawn(seed).log(400))
    told, expected = in_sql(url), in_memory(url)
    assert len(told) == 400
    assert {(text, expected[event]) for event, text in told.items()} <= {
        (text, text) for text in told.values()
    }
    found = rows(url, "SELECT * FROM syscalls")
    spoken = 0
    for row in found:
        for place in range(4):
            words = words_of(row, place)
            assert row[f"a{place}_words"] == words, (row["syscall"], place, row)
            assert row[f"a{place}_number"] & shapes.ALL == int(row[f"a{place}"], 16)
            spoken += words is not None
    assert spoken > 150


def words_of(row, place):
    """Give an argument in words as search has them; None if its kind has none."""
    name = row["syscall"]
    if name == "prctl":
        name = arguments.PARTS["prctl"].get(int(row["a0"], 16), name)
    if (name, place) not in arguments.ARGUMENTS:
        return None
    return interpret.argument(name, place, row[f"a{place}"])
