"""When events end, and their state; each known fault of other tools has a test here."""

from __future__ import annotations

import itertools

import pytest
from fixtures import logs

from auditsvc.decode.reference.serials import WINDOW, Serials
from auditsvc.decode.states import (
    COMPLETE,
    DISPLACED,
    END_OF_INPUT,
    EVICTED,
    NO_EXIT,
    ORPHAN,
    TIMEOUT,
    TRUNCATED,
)

CALL = dict(
    zip(("gid", "euid", "suid", "fsuid", "egid", "sgid", "fsgid"), range(5, 12), strict=True)
)
CALL |= {"ppid": 1, "pid": 2, "auid": 3, "uid": 4, "tty": "pts0", "ses": 12}
CALL |= {"exit": 0, "comm": '"prog"', "exe": '"/bin/prog"', "subj": "unconfined", "key": '"k"'}


def record(kind, body, serial=1, **where):
    """Write a record's line."""
    return logs.record(kind, serial, body, **where).rstrip("\n")


def syscall(serial=1, nr=39, items=0, **fields):
    """Write a SYSCALL."""
    return logs.call(serial, nr=nr, items=items, **CALL | fields).rstrip("\n")


def title(serial=1, text='"prog"', **where):
    """Write a PROCTITLE."""
    return record("PROCTITLE", f"proctitle={text}", serial, **where)


def path(serial=1, item=0):
    """Write a PATH."""
    return record("PATH", f'item={item} name="/p{item}" nametype=NORMAL', serial)


def eoe(serial=1, **where):
    """Write an EOE."""
    return logs.end(serial, **where).rstrip("\n")


def states(decoded):
    """Give serials and states of the calls."""
    return [(row["serial"], row["state"]) for row in decoded.rows("syscall")]


def test_ends_with_proctitle_at_once(decode):
    """A log without EOE gives every row (laurel#16), the last one too (audit-userspace#286)."""
    log = [line for n in range(3) for line in (syscall(n), title(n))]
    decoded = decode(log, finish=False)
    assert states(decoded) == [(0, COMPLETE), (1, COMPLETE), (2, COMPLETE)]
    assert decoded.open_records == 0


def test_ends_with_eoe_at_once(decode):
    """Where PROCTITLE is excluded, EOE ends the event."""
    decoded = decode([syscall(items=9), eoe()], finish=False)
    assert states(decoded) == [(1, COMPLETE)]
    assert decoded.counts["end"] == 1


def test_ends_by_idle_time(make, decoded):
    """Without PROCTITLE and EOE the idle time ends it: complete by items=, else partial."""
    machine = make(idle=2.0)
    log = "\n".join([syscall(1), syscall(2, items=1), path(2), syscall(3, items=2), path(3), ""])
    machine.feed(log.encode(), 10.0)
    machine.expire(11.9)
    assert machine.open_records == 5
    machine.expire(12.0)
    total = decoded()
    total.add(machine.take())
    assert states(total) == [(1, COMPLETE), (2, COMPLETE), (3, TIMEOUT)]
    assert machine.open_records == 0


def test_idle_time_counts_from_the_last_record(make):
    """A record that comes keeps its event open."""
    machine = make(idle=2.0)
    machine.feed((syscall(1, items=1) + "\n").encode(), 10.0)
    machine.feed((path(1) + "\n").encode(), 11.5)
    machine.expire(12.5)
    assert machine.open_records == 2
    machine.expire(13.5)
    assert machine.open_records == 0


def test_an_unfinished_event_blocks_nobody(decode):
    """Events after one that never ends come out at once; it ends at the end of input."""
    log = [syscall(1, items=1), *itertools.chain(*([syscall(n), title(n)] for n in range(2, 50)))]
    waiting = decode(log, finish=False)
    assert len(waiting.rows("syscall")) == 48
    assert waiting.open_records == 1
    assert states(decode(log))[-1] == (1, END_OF_INPUT)


def test_open_events_are_bounded(decode):
    """More than `max_open` unfinished events push the oldest out: memory has a bound."""
    log = [syscall(n, items=n % 2) for n in range(10)]
    decoded = decode(log, finish=False, max_open=4)
    assert states(decoded) == [(n, EVICTED if n % 2 else COMPLETE) for n in range(6)]
    assert decoded.open_records == 4


def test_the_bound_holds_for_whole_events_too(decode):
    """An event that stands together pushes out the oldest as one that comes line by line does."""
    log = [*(syscall(n, items=1) for n in range(4)), syscall(9), title(9)]
    text = "\n".join(log) + "\n"
    pieces = [text[n : n + 7].encode() for n in range(0, len(text), 7)]
    whole = decode(log, max_open=4)
    assert whole.everything() == decode(text, pieces=pieces, max_open=4).everything()
    assert states(whole)[0] == (0, EVICTED)


def test_open_bytes_are_bounded(decode):
    """An event without end cannot fill the memory; its records are kept all the same."""
    log = [syscall(items=1), *(record("NEW_KIND", "x=" + "y" * 1_000_000) for _ in range(40))]
    decoded = decode(log, finish=False)
    assert states(decoded) == [(1, EVICTED)]
    assert 0 < decoded.open_records < 20
    assert decoded.balance() == 0


def test_one_long_exec_is_whole_beside_others(decode):
    """The arguments of one exec may be longer than all other open events together."""
    argument = "41" * 3500
    log = [syscall(1, nr=59, items=0), record("EXECVE", "argc=600 a0=41", 1)]
    for each in range(1, 600):
        log += [record("EXECVE", f"a{each}={argument}", 1), record("NEW_KIND", "x=1", each + 1)]
    decoded = decode([*log, title(1)], finish=False)
    assert (states(decoded), decoded.open_records) == ([(1, COMPLETE)], 599)
    assert decoded.balance() == 0


def test_of_long_execs_one_stays_open(decode):
    """Of two open execs that are too long for the room of all events, the first one ends early."""
    log = []
    for serial in (1, 2):
        log.append(syscall(serial, nr=59, items=1))
        log += [record("EXECVE", f"a{each}={'41' * 3500}", serial) for each in range(300)]
    decoded = decode(log, finish=False)
    assert [serial for serial, _ in states(decoded)] == [1]
    assert decoded.open_records == 301
    assert decoded.balance() == 0


def test_another_syscall_displaces(decode):
    """Two SYSCALLs under one identity are two rows, and the first one says why."""
    decoded = decode([syscall(1, nr=1), syscall(1, nr=2), title(1)])
    assert [(row["nr"], row["state"]) for row in decoded.rows("syscall")] == [
        (1, DISPLACED),
        (2, COMPLETE),
    ]


def test_no_exit(decode):
    """A task that ended inside its call has neither success nor exit."""
    decoded = decode([syscall(success=None), title()])
    (row,) = decoded.rows("syscall")
    assert (row["state"], row["success"], row["exit"]) == (NO_EXIT, None, None)


def test_records_that_come_too_late(decode):
    """What follows after the end is an orphan of the same identity, and kept."""
    decoded = decode([syscall(), title(), path(), eoe()])
    (call,), (orphan,) = decoded.rows("syscall"), decoded.rows("event")
    assert orphan["id"] == call["id"]
    assert (orphan["type"], orphan["state"]) == (1302, ORPHAN)
    assert orphan["fields"] == '{"item":"0","name":"/p0","nametype":"NORMAL"}'


def test_an_old_event_among_newer_ones(decode):
    """An event is one whatever its neighbours' times are (audit-userspace#148)."""
    old = {"second": logs.SECOND - 60}
    decoded = decode(
        [syscall(2, **old), syscall(3), title(3), title(2, **old), syscall(4), title(4)]
    )
    assert states(decoded) == [(3, COMPLETE), (2, COMPLETE), (4, COMPLETE)]


def test_proctitle_survives_interleaving(decode):
    """Two events by turns keep their titles (wazuh#35250)."""
    decoded = decode([syscall(1), syscall(2), title(2, '"two"'), title(1, '"one"')])
    titles = {row["serial"]: row["context"]["title"] for row in decoded.rows("syscall")}
    assert titles == {1: "one", 2: "two"}


def test_mid_syscall_records_join(decode):
    """LOGIN, AVC, CONFIG_CHANGE before their SYSCALL are records of it, in one event."""
    kinds = ("LOGIN", "AVC", "CONFIG_CHANGE", "NETFILTER_CFG", "BPF", "ANOM_LINK", "INTEGRITY_DATA")
    for kind in kinds:
        decoded = decode([record(kind, "pid=1"), syscall(), title(), eoe()], finish=False)
        assert len(decoded.rows("record")) == 1, kind
        assert decoded.rows("event") == []


def test_avc_without_syscall(decode):
    """An AVC alone is a complete event (go-libaudit#127)."""
    decoded = decode([record("AVC", 'avc:  denied  { read } for  pid=7 comm="x"')])
    (row,) = decoded.rows("event")
    assert (row["pid"], row["state"]) == (7, COMPLETE)


def test_eoe_without_syscall(decode):
    """Where the kernel ended an event whose SYSCALL was dropped, the rest is an orphan."""
    (row,) = decode([record("AVC", "pid=7"), eoe()]).rows("event")
    assert row["state"] == ORPHAN


def test_repeated_records_are_all_kept(decode):
    """Five NETFILTER_CFG of one event are five records (go-libaudit#71)."""
    log = [record("NETFILTER_CFG", f"table=t{n} pid=1") for n in range(5)]
    rows = decode([*log, syscall(), title()]).rows("record")
    assert [row["seq"] for row in rows] == list(range(5))
    assert len({row["fields"] for row in rows}) == 5


def test_user_records_never_wait(decode):
    """A USER_* record is an event of its own, even under the identity of an open one."""
    decoded = decode([syscall(items=1), record("USER_AUTH", "pid=9"), path(), title()])
    assert states(decoded) == [(1, COMPLETE)]
    assert [row["pid"] for row in decoded.rows("event")] == [9]


def test_hosts_are_kept_apart(decode):
    """Equal stamps of two nodes are two events; a node may have spaces (audit-userspace#161)."""
    one, two = {"node": "node=one "}, {"node": "node=t w o "}
    decoded = decode([syscall(**one), syscall(**two), title(**two), title(**one)])
    hosts = [row["context"]["host"] for row in decoded.rows("syscall")]
    assert hosts == ["t w o", "one"]


def test_numbers_that_look_like_hex(decode):
    """`3005` unquoted is hex in an encoded field and a number in others (go-libaudit#13)."""
    log = [syscall(), record("CWD", "cwd=3005"), record("USER_TTY", "data=3005 terminal=3005", 2)]
    decoded = decode([*log, title()])
    (row,) = decoded.rows("syscall")
    assert row["context"]["cwd"] == "0\x05"
    (event,) = decoded.rows("event")
    assert event["fields"] == '{"data":"0\\u0005","terminal":"3005"}'


def test_more_arguments_than_an_index_may_hold(decode):
    """5,000 arguments over several records come back in order (beats PR#30382)."""
    words = [f"argument {n}" for n in range(5000)]
    tokens = [f" a{n}={word.encode().hex().upper()}" for n, word in enumerate(words)]
    parts = ["".join(tokens[n : n + 300]) for n in range(0, 5000, 300)]
    log = [syscall(nr=59), record("EXECVE", "argc=5000" + parts[0])]
    decoded = decode([*log, *(record("EXECVE", part) for part in parts[1:]), title()])
    (row,) = decoded.rows("exec")
    assert row["argv"] == "[" + ",".join(f'"{word}"' for word in words) + "]"
    assert states(decoded) == [(1, COMPLETE)]


def test_argc_larger_than_the_arguments(decode):
    """What came is given, argc is kept, and the event says so (audit-kernel#99)."""
    decoded = decode([syscall(nr=59), record("EXECVE", 'argc=9 a0="ls" a1="-l"'), title()])
    assert decoded.rows("exec")[0]["argv"] == '["ls","-l"]'
    assert '"argc":"9"' in decoded.rows("record")[0]["fields"]
    assert states(decoded) == [(1, TRUNCATED)]


def test_argument_boundaries(decode):
    """`a b` and `a`, `b` are different argument lists (osquery PR#6603)."""
    one = decode([syscall(), record("EXECVE", "argc=1 a0=612062"), title()])
    two = decode([syscall(), record("EXECVE", 'argc=2 a0="a" a1="b"'), title()])
    assert one.rows("exec")[0]["argv"] == '["a b"]'
    assert two.rows("exec")[0]["argv"] == '["a","b"]'


def test_order_of_fields_does_not_matter(decode):
    """A SYSCALL in another order gives the row of the usual one."""
    usual = syscall(1, nr=2)
    head, body = usual.split(": ", 1)
    turned = head + ": " + " ".join(sorted(body.split()))
    assert decode([turned, title()]).facts["syscall"] == decode([usual, title()]).facts["syscall"]


def test_a_syscall_that_lacks_facts_is_kept(decode):
    """No arch, no row of `syscall`: the event stands in `event`, with all its records."""
    decoded = decode([record("SYSCALL", "syscall=1 pid=2"), path(), title()])
    (row,) = decoded.rows("event")
    assert (row["type"], row["pid"], row["state"]) == (1300, 2, NO_EXIT)
    assert len(decoded.rows("path")) == len(decoded.rows("record")) == 1


@pytest.mark.parametrize(
    ("serials", "gap"),
    [
        ([1, 2, 3], 0),
        ([1, 4], 2),
        ([1, 4, 3, 2], 0),
        ([4294967294, 4294967295, 0, 2], 1),
        ([7, 7, 8], 0),
        ([100, 99, 98, 101], 0),
        ([5, 8, 6, 6, 7], 0),
    ],
)
def test_gap(decode, serials, gap):
    """Serials not seen, in any order, across the wrap at 2^32 (beats PR#7561), each once."""
    log = [line for serial in serials for line in (syscall(serial), title(serial), eoe(serial))]
    assert decode(log).counts["gap"] == gap


def test_gap_leaves_out_daemon_records(decode):
    """DAEMON_* records have serials of their own."""
    log = [syscall(1), title(1), record("DAEMON_START", "op=start", 9000), syscall(2), title(2)]
    assert decode(log).counts["gap"] == 0


def test_gap_goes_on_after_a_restart(make):
    """Serials that were left out while nobody read are counted by the next decoder."""
    first, second = make(), make()
    first.feed("\n".join([syscall(10), title(10), ""]).encode(), 0.0)
    second.restore(first.pending(), 0.0)
    second.feed("\n".join([syscall(15), title(15), ""]).encode(), 0.0)
    assert second.take().counts["gap"] == 4


def test_gap_begins_anew_after_a_reboot():
    """A serial far back at a later time is a new boot; far back at an earlier time is late."""
    serials = Serials(500_000, 1000)
    assert serials.see(1, 2000) == 0
    assert serials.see(3, 2001) == 1
    late = Serials(0, 0)
    assert late.see(5000, 9000) == 4999
    assert late.see(100, 8000) == -1
    assert late.see(100, 8000) == 0
    assert late.see(5000 + 2 * WINDOW, 9001) == 2 * WINDOW - 1
    assert late.see(200, 8000) == 0


def test_lost_counts_come_from_our_notes(decode):
    """DAEMON_ERR op=lost adds what the kernel and the spool lost; other errors do not."""
    log = [
        record("DAEMON_ERR", "op=lost kernel=17 spool=4 res=failed", 1),
        record("DAEMON_ERR", "op=lost kernel=3 spool=0 res=failed", 2),
        record("DAEMON_ERR", "op=disk-full kernel=99 spool=99 res=failed", 3),
    ]
    decoded = decode(log)
    assert (decoded.counts["kernel_lost"], decoded.counts["spool_lost"]) == (20, 4)
    assert len(decoded.rows("event")) == 3


def test_restored_lines_are_not_counted_again(make):
    """Nothing that `restore` takes in is counted as received, lost or left out."""
    machine = make()
    machine.restore((syscall(3, items=1) + "\n" + path(3)).encode(), 0.0)
    assert machine.open_records == 1
    assert not any(machine.take().counts.values())
