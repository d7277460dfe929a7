"""`story` and search say the same of any call, with any arguments and records."""

from __future__ import annotations

import random

import pytest
from fixtures.logs import call, end, load, path, record, rows
from fixtures.sentences import found_sentences, told_sentences

from auditsvc.search import interpret
from auditsvc.tables import arguments, names, shapes

CWD = 0xFFFFFFFFFFFFFF9C
ADDRESSES = ("0200003500000000C00002070000000000", "0A0001BB00000000", "01002F72756E2F78")
FILES = ("/etc/passwd", "new", "./here", "../up", ".", "a/b")
NAMETYPES = ("NORMAL", "PARENT", "CREATE", "DELETE", "UNKNOWN")
OPS = ("add_rule", "remove_rule", "set")
TELLING = (
    ("CONFIG_CHANGE", "auid=1 ses=1 op=set audit_enabled=1 old=0 res=1"),
    ("NETFILTER_CFG", 'table=filter:3 family=10 entries=12 op=nft_register_rule comm="nft"'),
    ("MAC_STATUS", "enforcing=0 old_enforcing=1 auid=1 ses=1 enabled=1 old-enabled=1 res=1"),
    ("MAC_POLICY_LOAD", "auid=1 ses=1 lsm=selinux res=1"),
    ("MAC_CONFIG_CHANGE", "bool=deny_ptrace val=1 old_val=0 auid=1 ses=1"),
    ("FEATURE_CHANGE", "feature=loginuid_immutable old=0 new=1 old_lock=0 new_lock=1 res=1"),
    ("BPF", "prog-id=44 op=LOAD"),
    ("ANOM_PROMISCUOUS", "dev=veth0 prom=256 old_prom=0 auid=1 uid=0 gid=0 ses=1"),
    ("LOGIN", "pid=1 uid=0 old-auid=4294967295 auid=1000 old-ses=4294967295 ses=3 res=1"),
)
CARRYING = ("write", "sendto", "sendmsg", "setsockopt", "ioctl", "bpf")


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
            called = [n for n, each in names.syscalls(arch).items() if each in CARRYING]
            nr = pick(called or [nr])
            before = record(*(told := pick(TELLING))[:1], serial, told[1])
        elif maybe() < 0.1:
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


@pytest.mark.one_database
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.usefixtures("ids")
def test_any_call_is_told_in_the_same_words(url, seed):
    """Whatever the arguments and records are: the sentence, each argument, each number."""
    load(url, Drawn(seed).log(400))
    told, expected = told_sentences(url), found_sentences(url)
    assert len(told) == 400
    assert {(text, expected[event]) for event, text in told.items()} <= {
        (text, text) for text in told.values()
    }
    spoken = 0
    for row in rows(url, "SELECT * FROM syscalls"):
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
