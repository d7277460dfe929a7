"""docs/cookbook.md: each question has its true answer, by its command and by its SQL."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import pytest
from fixtures import commands
from fixtures.cookbook_log import cookbook_log
from fixtures.logs import load, rows

PAGE = (Path(__file__).parents[2] / "docs/cookbook.md").read_text()
PARTS = re.findall(
    r"## ([0-9]+)\. ([^\n]*)\n\n```sh\nauditsvc ([^\n]*)\n```\n\n```sql\n(.*?)\n```",
    PAGE,
    re.DOTALL,
)
LOG, SERIALS = cookbook_log()
NAMES = {serial: name for name, serial in SERIALS.items()}
_TIME = re.compile(r"2026-11-[0-9]{2}[ T][0-9]{2}:[0-9]{2}")

# By number: the events that `search` finds, or what stands in the output of another command; and
# the rows of the SQL, of whose times the day of the month, the hour and the minute are compared.
ANSWERS = {
    1: (["bob deletes"], [("20 09:45", 1001, "/usr/bin/rm")]),
    2: (["passwd replaced"], [("20 10:10", 1001, 0, "useradd", "rename")]),
    3: (
        ["bob reads shadow", "sh traces ann"],
        [
            ("20 09:40", 1001, "/usr/bin/cat", "/etc/shadow"),
            ("20 09:56", 1001, "/usr/bin/dash", None),
        ],
    ),
    4: (["bob chmods tool"], [("20 09:51", 1001, "0755")]),
    5: (["owner changed"], [("20 10:19", 1001, 0, "/srv/data/key.pem", "1001:-")]),
    6: (
        ["ann ls", "ann vi"],
        [
            ("20 10:05", "/usr/bin/ls", ["ls", "-l", "/srv"]),
            ("20 10:20", "/usr/bin/vi", ["vi", "notes"]),
        ],
    ),
    7: (["root bash"], [("20 10:01", "/usr/bin/bash", ["/bin/bash"])]),
    8: (
        ["3   /tmp/tool", "3   /usr/bin/bash"],
        [("/usr/bin/bash", 2), ("/tmp/tool", 1), ("/usr/bin/dash", 1)],
    ),
    9: (["bob runs tool"], [("20 09:52", 1001, "/tmp/tool", ["/tmp/tool", "--all"])]),
    10: (
        ["/tmp/tool", "/usr/bin/dash", "/usr/bin/vi"],
        [("/tmp/tool",), ("/usr/bin/dash",), ("/usr/bin/vi",)],
    ),
    11: (
        ["curl before", "tool connects"],
        [
            ("19 09:05", 1000, "/usr/bin/curl", "192.0.2.10", 443),
            ("20 09:53", 1001, "/tmp/tool", "198.51.100.7", 4444),
        ],
    ),
    12: (["tool connects"], [("198.51.100.7", 4444, "20 09:53", "/tmp/tool")]),
    13: (["tool listens"], [("20 09:54", 1001, "/tmp/tool", "0.0.0.0", 31337)]),
    14: (["tool connects"], [("20 09:53", 1001, 4242, "/tmp/tool")]),
    15: (
        ["bob runs tool", "tool connects", "tool listens"],
        [("20 09:52", "execve", 1, 3), ("20 09:53", "connect", 1, 3), ("20 09:54", "bind", 1, 3)],
    ),
    16: (["tool starts sh"], [("20 09:55", 4243, "/usr/bin/dash", ["sh", "-i"])]),
    17: (['"pid": 4242', '"/tmp/tool"'], [(4242, "/tmp/tool", ["/tmp/tool", "--all"])]),
    18: (
        ["ann logs in", "ann ls", "ann vi", "vi crashes", "ann asks", "ann has asked"],
        [
            ("20 09:00", "USER_LOGIN", "/usr/sbin/sshd"),
            ("20 10:05", "execve", "/usr/bin/ls"),
            ("20 10:20", "execve", "/usr/bin/vi"),
            ("20 11:00", "ANOM_ABEND", "/usr/bin/vi"),
            ("20 11:10", "DAEMON_ACCEPT", None),
            ("20 11:11", "DAEMON_CLOSE", None),
        ],
    ),
    19: (
        ["192.0.2.1 ", "203.0.113.9"],
        [("20 09:00", 1000, "192.0.2.1"), ("20 09:32", 1001, "203.0.113.9")],
    ),
    20: (["2   bob"], [("bob", "203.0.113.9", 2)]),
    21: (["bob fails", "bob fails again", "bob logs in"], [("20 09:32", 1001, "203.0.113.9", 2)]),
    22: (["sudo to root"], [("20 10:00", 1001, "setuid", "/usr/bin/sudo")]),
    23: (["bob sudo"], [("20 10:00", 1001, "/bin/bash", "success")]),
    24: (["mallory"], [("20 10:10", 1001, "mallory", "/usr/sbin/useradd")]),
    25: (["module loaded"], [("20 10:15", 1001, 0, "loaded-kernel-module", "/usr/bin/kmod")]),
    26: (["clock set"], [("20 10:17", 1001, "/usr/bin/date")]),
    27: (["disk mounted"], [("20 10:18", 1001, "/mnt"), ("20 10:18", 1001, "/dev/sdb1")]),
    28: (["CONFIG_CHANGE"], [("20 10:16", 1001, 5, "remove_rule", "data")]),
    29: (
        ["rule_deleted"],
        [("20 10:16", "rule_deleted", "-w /srv/data -k data", "yes", 1001, "/usr/sbin/auditctl")],
    ),
    30: (["nginx"], [("20 10:48", "/usr/sbin/nginx", "/srv/data/key.pem", "r")]),
    31: (["/usr/bin/vi"], [("20 11:00", 1000, "/usr/bin/vi", "11")]),
    32: (["nginx killed"], [("20 10:50", 1001, 0, "/usr/bin/bash", "SIGKILL")]),
    33: (["sh traces ann"], [("20 09:56", 1001, "/usr/bin/dash", 4201, "EACCES")]),
    34: (
        ["web shell", "seen in container"],
        [("20 10:30", 33, "/usr/bin/dash", ["sh", "-c", "id"])],
    ),
    35: (["config written", "nginx denied"], [("20 10:45", 1001, "mv", "/etc/nginx/nginx.conf")]),
    36: (["nginx stopped"], [("20 10:50", "nginx", "failed")]),
    37: (
        ["3   net"],
        [
            ("data", 1001, 1),
            ("identity", 1001, 1),
            ("modules", 1001, 1),
            ("net", 1000, 1),
            ("net", 1001, 2),
            ("perm", 1001, 2),
            ("secrets", 1001, 1),
            ("time", 1001, 1),
        ],
    ),
    38: (["2026-11-20 10:00"], [("19 09:00", 1), ("20 09:00", 9), ("20 10:00", 9)]),
    39: (["kernel_lost,12"], [("kernel_lost", 12)]),
    40: (["ann,query,,TABLE,7"], [("20 11:10", "ann", 1000, "query", "TABLE", 7, "done")]),
}


@pytest.fixture(scope="module")
def store(common_url):
    """Give a store with the log, as the spool of its host."""
    load(common_url, LOG, kind="spool", host="box")
    return common_url


@pytest.fixture
def environment(store, tmp_path):
    """Give the commands' environment: they ask that store."""
    settings = {"STORE": store, "RUNTIME_DIRECTORY": tmp_path, "HOST": "box"}
    return os.environ | {f"AUDITSVC_{name}": str(value) for name, value in settings.items()}


def test_there_are_forty():
    """Numbered in their order; each is asked below."""
    assert [int(number) for number, *_ in PARTS] == [*range(1, 41)]
    assert len(re.findall(r"^## ", PAGE, re.MULTILINE)) == 40
    assert len({question for _, question, *_ in PARTS}) == 40


def minutes(value):
    """Give the day of the month, hour and minute of a time, other values as they are."""
    if isinstance(value, str) and _TIME.match(value):
        return value[8:16].replace("T", " ")
    return value


@pytest.mark.parametrize(("number", "sql"), [(int(part[0]), part[3]) for part in PARTS])
def test_sql(store, number, sql):
    """The rows are those of what happened."""
    found = [tuple(minutes(value) for value in row.values()) for row in rows(store, sql)]
    assert found == ANSWERS[number][1]


@pytest.mark.parametrize(("number", "line"), [(int(part[0]), part[2]) for part in PARTS])
def test_command(environment, number, line):
    """It finds the events of what happened, or shows them."""
    words = shlex.split(line)
    wanted = ANSWERS[number][0]
    is_search = words[0] == "search"
    words += ["--format", "jsonl"] if is_search else []
    done = commands.run(*words, environment=environment, text=True)
    assert done.returncode == 0, done.stderr
    if is_search:
        assert [NAMES[json.loads(row)["serial"]] for row in done.stdout.splitlines()] == wanted
    else:
        assert [text for text in wanted if text not in done.stdout] == []
