"""Names of this machine's users and groups, from whatever its name service asks (nsswitch)."""

from __future__ import annotations

import grp
import pwd
from functools import lru_cache


@lru_cache(4096)
def user_name(uid: int) -> str | None:
    """Give a user's name; None if there is none. Asked once."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return None


@lru_cache(4096)
def group_name(gid: int) -> str | None:
    """Give a group's name; None if there is none. Asked once."""
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        return None
