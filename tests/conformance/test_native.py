"""The native decoder gives what the reference gives, for any input: rows, counts, pending."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from fixtures import forms
from fixtures.decoder_pair import Pair, drive
from fixtures.logs import call, path, proctitle, record
from fixtures.long_logs import blocks
from fixtures.repeats import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from auditsvc.decode import DECODERS
from auditsvc.errors import StoreError

pytestmark = pytest.mark.skipif("native" not in DECODERS, reason="the native core was not built")

DATA = Path(__file__).parent.parent / "data"
LINES = [
    line
    for path in sorted((*DATA.glob("*.log"), *DATA.glob("records/*.log")))
    for line in path.read_bytes().split(b"\n")
] + forms.lines()
# What the grammar turns on: pieces of it land anywhere in real records.
PIECES = [
    *(b"\0", b"\r", b"\n", b"\x1d", b"\x1dESCAPED=1", b"\\x0A", b"\\x4", b'"', b"'", b"=", b" "),
    *(b"(null)", b"(none)", b"?", b"-1", b"4294967295", b"18446744073709551615", b"-0", b"007"),
    *(b" subj=?", b"msg='", b" msg='op=x res=success'", b"type=", b" type=", b"node=a b "),
    *(b"node= ", b"a0[1]=41", b"a0_len=2", b"argc=2", b"a1=", b"{ ", b" }", b"avc: ", b" { r } "),
    *(b"saddr=", b" per=400000", b" success=maybe", b" exit=99999999999999999999", b"items=1"),
    *(b" ppid=1", b" key=6101620162", b"proctitle=6100FF", b"\xff\xfe", b"\xed\xa0\x80", b"\xc3"),
    *(
        b"='",
        b"' ",
        b" (enforce)",
        b"subj=a (b) ",
        b"#035",
        b'0FSUID="',
        b"0SADDR={ x }",
        b"ARCH=x",
    ),
    *(
        b"kernel: ",
        b"<5>",
        b"[ 1.5] ",
        b"[T1] ",
        b"audit: ",
        b"1,2,3,-;",
        b" old auid=1",
        b"new ses=2",
    ),
    *("é€😀".encode(), b"\x7f", b"\x0b", b"#gap 1 1", b"audit(", b"): ", b":", b"0123456789"),
]
TYPES = re.compile(rb"type=([A-Z0-9_\[\]]+)")
STAMPS = re.compile(rb"audit\(([0-9.]+:[0-9]+)\)")


def mutate(rng, line):
    """Change a line in one of the ways in which lines go wrong."""
    place = rng.randrange(len(line) + 1)
    match rng.randrange(8):
        case 0:
            return line[:place] + rng.choice(PIECES) + line[place:]
        case 1:
            return line[:place] + bytes((rng.randrange(256),)) + line[place + 1 :]
        case 2:
            return line[:place] + line[place + rng.randrange(1, 20) :]
        case 3:
            return line[:place]
        case 4:
            other = TYPES.search(rng.choice(LINES))
            kind = other[1] if other else rng.choice((b"1300", b"UNKNOWN[1300]", b"NEW_ONE", b"0"))
            return TYPES.sub(b"type=" + kind, line, count=1)
        case 5:
            other = STAMPS.search(rng.choice(LINES))
            stamp = other[1] if other else b"01.000:1"
            return STAMPS.sub(b"audit(" + stamp + b")", line, count=1)
        case 6:
            tokens = line.split(b" ")
            rng.shuffle(tokens)
            return b" ".join(tokens)
        case _:
            tokens = line.split(b" ")
            tokens.insert(rng.randrange(len(tokens) + 1), rng.choice(rng.choice(LINES).split(b" ")))
            return b" ".join(tokens)


def make_log(rng):
    """Make a log of some real events, interleaved, with some lines changed, lost and doubled."""
    lines = []
    for _ in range(rng.randrange(1, 4)):
        start = rng.randrange(len(LINES))
        lines += LINES[start : start + rng.randrange(1, 25)]
    for _ in range(rng.randrange(6)):
        line = lines.pop(rng.randrange(len(lines)))
        for _ in range(rng.randrange(3)):
            lines.insert(rng.randrange(len(lines) + 1), line)
        if not lines:
            lines = [b""]
    one_event = rng.random() < 0.2
    stamp = next((found[1] for line in lines if (found := STAMPS.search(line))), b"1.000:1")
    for n in range(len(lines)):
        if one_event:
            lines[n] = STAMPS.sub(b"audit(" + stamp + b")", lines[n])
        while rng.random() < 0.15:
            lines[n] = mutate(rng, lines[n])
    return b"\n".join(lines) + rng.choice((b"", b"\n", b"\r\n"))


@examples(100, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1 << 64))
def test_any_log_gives_equal_rows(seed):
    """Mutated and interleaved real records, cut anywhere: one result, and never a panic."""
    rng = random.Random(seed)
    drive(rng, make_log(rng))


@examples(100)
@given(st.lists(st.one_of(st.sampled_from(LINES + PIECES), st.binary(max_size=30)), max_size=12))
def test_any_bytes_give_equal_rows(pieces):
    """Bytes that look like records only in part."""
    drive(random.Random(0), b"".join(pieces))


def test_real_logs_give_equal_rows():
    """All recorded logs, whole."""
    pair = Pair()
    pair.do("feed", b"\n".join(LINES) + b"\n", 0.0)
    pair.do("finish")
    assert pair.do("take").facts


@pytest.mark.parametrize("kind", ["plain", "mixed"])
@pytest.mark.parametrize("records", [50_000, pytest.param(2_000_000, marks=pytest.mark.long)])
def test_the_log_of_a_busy_host_gives_equal_rows(kind, records):
    """What the benchmarks measure with: events of two processors by turns, new processes."""
    pair = Pair()
    for data, _ in blocks(kind, records):
        pair.do("feed", data, 0.0)
        assert pair.do("take").facts
    pair.do("finish")
    assert not pair.do("take").raw


PATH_NAMES = ['"/etc/passwd"', "2F746D", "(null)", "", '"a b"', '"', "'x'", "A=", '"x"y', "{ a }"]
PATH_TAILS = [
    *(" nametype=NORMAL", " nametype=", " cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0", " cap_fp="),
    *(" inode=5", " inode=x", " inode=18446744073709551616", " dev=fe:00", ' dev="fe:00"'),
    *(" mode=0100644", " mode='1'", " ouid=0", " ouid=-1", " ogid=4294967295", " rdev=\xe9"),
    *(" obj=a:b:c", " obj=x (enforce)", '\x1dOUID="root" OGID="root"', ' OUID="root"', "\x1d"),
    *(" name=2", " word", " =", " a='b c' d", " a={ x }"),
]
USUAL = " inode=1 dev=fe:00 mode=0100644 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL cap_fp=0"


@examples(300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(PATH_NAMES),
            st.sampled_from(["", USUAL, " nametype=UNKNOWN cap_fp=0"]),
            st.lists(st.sampled_from(PATH_TAILS), max_size=4),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_path_that_is_nearly_as_the_kernel_prints_it(paths):
    """There are two ways to read one, which give the same row."""
    pair = Pair()
    lines = [call(1, items=len(paths))]
    for item, (name, usual, tails) in enumerate(paths):
        lines.append(record("PATH", 1, f"item={item} name={name}{usual}{''.join(tails)}"))
    pair.do("feed", "".join(lines).encode("latin-1"), 0.0)
    pair.do("finish")
    assert pair.do("take").facts["path"]


def test_caches_are_emptied_at_the_same_place():
    """More contexts, files and texts than the caches hold: both give the same rows again."""
    pair = Pair()
    lines = []
    for n in range(24_000):
        pid = n * 7919 % 20_000
        lines += (
            call(n, nr=1, pid=pid, comm=f'"c{pid % 9000}"', exe=f'"/bin/{pid}"'),
            path(n, f"/tmp/{pid}", inode=pid),
            proctitle(n, f"{n % 17000:08X}"),
        )
    log = "".join(lines).encode()
    for start in range(0, len(log), 1 << 20):
        pair.do("feed", log[start : start + (1 << 20)], 0.0)
        pair.do("take")


def test_long_lines_are_cut_at_the_same_place():
    """Lines around the longest one that is taken whole, in pieces around that length."""
    longest = 1 << 20
    stamp = b"audit(1.000:1): "
    for size in (longest - 1, longest, longest + 1, 2 * longest + 5):
        line = b"type=USER_CMD msg=" + stamp
        log = line + b"a" * (size - len(line)) + b"\nafter\n" + b"\0" * 5 + b"\n"
        for piece in (1 << 18, longest + 1, len(log)):
            pair = Pair()
            for start in range(0, len(log), piece):
                pair.do("feed", log[start : start + piece], 0.0)
            pair.do("take")
            pair.do("finish")
            pair.do("take")


def test_bytes_of_open_events_have_the_same_bound():
    """Events without an end evict the oldest one at the same record."""
    pair = Pair()
    filler = b"a" * 1_000_000
    for n in range(80):
        pair.do("feed", b"type=CWD msg=audit(1.000:%d): cwd=%b\n" % (n % 50, filler), 0.0)
    pair.do("take")
    assert pair.both[0].open_records < 80


def test_a_wrong_checkpoint_is_the_same_error():
    """What `pending` never gave is refused by both."""
    for decoder in Pair().both:
        with pytest.raises(StoreError):
            decoder.restore(b"no record\n", 0.0)
