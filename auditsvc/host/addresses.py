"""The IP addresses of this host, as the kernel lists them: without loopback and link-local ones.

/proc/net/fib_trie has an IPv4 address of ours as a line `/32 host LOCAL` below a line with it
(net/ipv4/fib_trie.c); /proc/net/if_inet6 has an IPv6 address a line, with its scope
(net/ipv6/addrconf.c; 00 is global).
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc/net")
_LOCAL: Final = re.compile(r"\|-- ([0-9.]+)\n\s*/32 host LOCAL")
_GLOBAL: Final = "00"


def own_addresses(proc: Path = _PROC) -> list[str]:
    """Give them, sorted; none where the files cannot be read."""
    found = {
        address for address in _LOCAL.findall(_text(proc / "fib_trie")) if address[:4] != "127."
    }
    for line in _text(proc / "if_inet6").splitlines():
        words = line.split()
        if len(words) >= 4 and len(words[0]) == 32 and words[3] == _GLOBAL:
            found.add(str(IPv6Address(int(words[0], 16))))
    return sorted(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
