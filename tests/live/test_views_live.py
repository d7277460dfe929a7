"""`files` tells what strace saw of the same processes; every call of a live log has a sentence.

strace prints what the programs asked for, by name. Whether an open made its file is not in its
output: the test follows which names exist, as the workload's folder is empty before.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from live.programs import Programs, fresh_auid, rules
from live.service import Service

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

SHELL = """
mkdir box; echo one > box/a; cat box/a > /dev/null; echo two >> box/a; echo three > box/a
cat box/none 2> /dev/null; mkdir box 2> /dev/null; mv box/a box/b; echo x > box/c; mv -T box/c box/b
ln box/b box/hard; ln -s b box/soft; chmod 4750 box/b; chown 12:34 box/b; chown -h 56 box/soft
rm box/hard; mkdir box/in; rmdir box/in; mkfifo box/fifo; truncate -s 9 box/b; rm -r box
"""
PYTHON = """
import os
os.mkdir("py")
for flags in (os.O_RDWR | os.O_CREAT, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_PATH,
              os.O_RDONLY | os.O_TRUNC, os.O_RDWR | os.O_CREAT | os.O_EXCL):
    try:
        os.close(os.open("py/f", flags, 0o600))
    except FileExistsError:
        pass
os.truncate("py/f", 0)
os.rename("py/f", "py/g \\n\\x1b[31m<b>")
os.chmod("py/g \\n\\x1b[31m<b>", 0o1777)
os.lchown("py/g \\n\\x1b[31m<b>", -1, 77)
os.utime("py/g \\n\\x1b[31m<b>")
os.replace("py/g \\n\\x1b[31m<b>", "py/h")
os.unlink("py/h")
os.rmdir("py")
"""
CALLS = (
    "open,openat,creat,mkdir,mkdirat,mknod,mknodat,symlink,symlinkat,link,linkat,unlink,unlinkat,"
    "rmdir,rename,renameat,renameat2,chmod,fchmodat,chown,lchown,fchownat,truncate,"
    "utimensat"
)
_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(?: (E\w+))?")
_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"')
_EFFECTS = {
    "create": "mkdir mkdirat mknod mknodat symlink symlinkat",
    "delete": "unlink unlinkat rmdir",
    "mode": "chmod fchmodat",
    "owner": "chown lchown fchownat",
    "write": "truncate",
    "time": "utimensat",
}
EFFECT = {call: effect for effect, calls in _EFFECTS.items() for call in calls.split()}
Told = tuple[int, str, str, str | None]


@dataclass
class Model:
    """The names that exist, and what each call did: pid, action, name, errno."""

    names: set[str] = field(default_factory=set)
    told: Counter[Told] = field(default_factory=Counter)

    def take(self, line: str) -> None:
        """Follow a line of strace."""
        match = _LINE.match(line)
        if match is None:
            return
        pid, call, arguments, error = int(match[1]), match[2], match[3], match[5]
        names = [each.encode().decode("unicode_escape") for each in _NAME.findall(arguments)]
        for action, name in self.effects(call, names, arguments, error):
            self.told[pid, action, name, error] += 1

    def effects(
        self, call: str, names: list[str], arguments: str, error: str | None
    ) -> list[tuple[str, str]]:
        """Give action and name of each file of a call, and follow what exists."""
        if not names:
            return []
        if error == "EEXIST" and not call.startswith("open"):
            return []  # the kernel's records name the folders alone
        name = names[-1]
        known, kept = self.key(name), error is None
        if call in ("open", "openat", "creat"):
            made = kept and "O_CREAT" in arguments and name[0] != "/"
            made = made and known not in self.names
            self.names |= {known} if made else set()
            return [("create" if made else opened(arguments), name)]
        if call.startswith("rename"):
            replaced = [("replace", name)] if known in self.names else []
            self.names -= {self.key(names[0])}
            self.names |= {known}
            return [("rename", names[0]), ("create", name), *replaced]
        if call.startswith("link"):
            self.names |= {known}
            return [("link", names[0]), ("create", name)]
        if kept and EFFECT[call] == "create":
            self.names |= {known}
        if kept and EFFECT[call] == "delete":
            self.names -= {known}
        if call.startswith("symlink"):
            return [("create", name), ("use", names[0])]
        return [(EFFECT[call], name)]

    def key(self, name: str) -> str:
        """Give what tells a file: its last name, as `rm -r` names it by its folder's descriptor."""
        return name.rstrip("/").rpartition("/")[2]


def opened(flags: str) -> str:
    """Give what a file was opened for."""
    if "O_PATH" in flags:
        return "look"
    if "O_RDWR" in flags:
        return "read_write"
    return "write" if "O_WRONLY" in flags or "O_TRUNC" in flags else "read"


@pytest.mark.usefixtures("audit_lock")
def test_views_tell_what_strace_saw(programs: Programs, tmp_path: Path) -> None:
    """Files opened, made, deleted, renamed, changed; a denial, a mount, commands; sentences."""
    auid = fresh_auid()
    work = tmp_path / "work"
    work.mkdir()
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-s", "4096", "-e", f"trace={CALLS}", "-o", trace]
    scripts = (["/bin/sh", "-c", SHELL], ["/usr/bin/python3", "-c", PYTHON])
    lines: list[str] = []
    with Service(tmp_path, rules(auid)) as service:
        for script in scripts:
            command = [*strace, programs["as_auid"], str(auid), *script]
            subprocess.run(command, cwd=work, check=True, timeout=60)
            # What comes before is not done under this login uid.
            text = trace.read_text()
            lines += text[text.index("/proc/self/loginuid") :].splitlines()[1:]
        programs.run(auid, programs["endings"], "seccomp", status=-signal.SIGKILL)
        mount = "mount -t tmpfs none /mnt && umount /mnt"
        programs.run(auid, "/usr/bin/unshare", "-m", "/bin/sh", "-c", mount)

    model = Model()
    for line in lines:
        model.take(line)
    asked = f"SELECT * FROM files WHERE auid = {auid} ORDER BY event_id"
    calls = set(CALLS.split(","))
    pids = {pid for pid, *_ in model.told}
    found = Counter(
        (row["pid"], row["action"], row["name"], row["errno"])
        for row in service.query(asked)
        if row["syscall"] in calls and row["pid"] in pids and row["name"]
    )
    differences = [*(found - model.told), "strace:", *(model.told - found)]
    assert differences == ["strace:"]
    done = {action for _, action, _, error in found if error is None}
    assert done >= {*EFFECT.values(), "read", "read_write", "rename", "replace", "link", "look"}
    detail = {(row["action"], row["detail"]) for row in service.query(asked) if row["success"]}
    assert detail >= {("mode", "suid,0750"), ("mode", "sticky,0777"), ("owner", "12:34")}
    assert detail >= {("owner", "-:77")}

    asked = "SELECT mechanism, enforced, syscall FROM denials WHERE auid = {}"
    (denied,) = service.query(asked.format(auid))
    assert (denied["mechanism"], bool(denied["enforced"])) == ("seccomp", True)
    changes = service.query(f"SELECT action, object FROM changes WHERE auid = {auid}")
    # The first is unshare's: it takes / out of propagation.
    assert sorted(row["action"] for row in changes) == ["mounted", "mounted", "unmounted"]
    asked = f"SELECT how, command FROM commands WHERE auid = {auid} AND outcome = 'success'"
    commands = {(row["how"], row["command"]) for row in service.query(asked)}
    assert commands >= {("exec", "mount -t tmpfs none /mnt"), ("exec", "chown -h 56 box/soft")}
    assert ("shell", f"/bin/sh -c '{mount}'") in commands
    told = service.query(f"SELECT action, sentence FROM story WHERE auid = {auid}")
    assert len(told) > 1000
    nameless = [row for row in told if row["action"].startswith(("made-call", "made-un"))]
    assert nameless == [row for row in told if not row["sentence"]] == []
