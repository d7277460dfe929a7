"""What auditctl would send for lines of text, without any of it reaching the kernel."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
AUDITCTL = ROOT / "build/peers/sbin/auditctl"
EXAMPLES = ROOT / "build/peers/usr/share/doc/auditd/examples/rules"
ADD_RULE, DELETE_RULE = 1011, 1012

# auditctl asks for the status, and at an exe= rule for the features; strace lets
# these two pass and answers every later sendto itself.
_PRELUDE = "-i\n-a always,exit -F exe=/prelude\n"
_SENT = re.compile(
    r'nlmsg_type=(?:0x3f[34]|AUDIT_ADD_RULE|AUDIT_DEL_RULE).*?nlmsg_seq=.*?"((?:\\x..)*)"'
)
_FAILED = re.compile(r"There was an error in line (\d+) of")


def _unpadded(data: bytes) -> bytes:
    """Cut off the NULs that align a netlink message to four bytes."""
    size = 1040 + int.from_bytes(data[1036:1040], sys.byteorder)
    assert not data[size:].strip(b"\0")
    return data[:size]


def sent(lines: list[str], folder: Path) -> list[bytes | None]:
    """Give the struct audit_rule_data that auditctl makes of each line, None where it refuses."""
    path = folder / "auditctl.rules"
    path.write_text(_PRELUDE + "\n".join(lines) + "\n")
    path.chmod(0o600)
    command = ["strace", "-e", "trace=sendto", "-xx", "-s", "20000"]
    command += ["-e", "inject=sendto:retval=1:when=3+", AUDITCTL, "-R", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    # One after the other: what was sent for a line, then that the line failed.
    found: dict[int, bytes] = {}
    last = None
    for line in done.stderr.splitlines():
        match = _SENT.search(line)
        # A second message for one line is the folder tried again as a file, for old kernels.
        if match and last is None:
            last = _unpadded(bytes.fromhex(match[1].replace("\\x", "")))
        if match := _FAILED.search(line):
            if last is not None:
                found[int(match[1])] = last
            last = None
    assert 2 in found, done.stderr
    return [found.get(number) for number in range(3, 3 + len(lines))]
