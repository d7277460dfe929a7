"""The host's own addresses, from what the kernel's files say."""

from __future__ import annotations

from auditsvc.host.addresses import own_addresses

TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.1
              /32 host LOCAL
     +-- 192.0.2.0/24 2 0 2
           |-- 192.0.2.0
              /24 link UNICAST
           |-- 192.0.2.2
              /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
        |-- 198.51.100.9
           /32 host LOCAL
"""
INET6 = """fd000000000000000000000000000002 04 40 00 82     eth0
00000000000000000000000000000001 01 80 10 80       lo
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
"""


def test_addresses_of_interfaces_are_given_and_no_others(tmp_path):
    """Not loopback, link-local, networks and broadcast; a missing file has none."""
    assert own_addresses(tmp_path) == []
    (tmp_path / "fib_trie").write_text(TRIE + TRIE)
    assert own_addresses(tmp_path) == ["192.0.2.2", "198.51.100.9"]
    (tmp_path / "if_inet6").write_text(INET6 + "nonsense\n")
    assert own_addresses(tmp_path) == ["192.0.2.2", "198.51.100.9", "fd00::2"]
