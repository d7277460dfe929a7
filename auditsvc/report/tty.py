"""Keystrokes of TTY records as people read them: text in quotes, keys by name."""

from __future__ import annotations

import re
from typing import Final

# What a terminal sends for a key (xterm's ctlseqs, "PC-Style Function Keys"; terminfo's linux,
# xterm and vt220).
_SEQUENCES: Final = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left",
    "\x1bOA": "up", "\x1bOB": "down", "\x1bOC": "right", "\x1bOD": "left",
    "\x1b[H": "home", "\x1b[F": "end", "\x1bOH": "home", "\x1bOF": "end",
    "\x1b[1~": "home", "\x1b[4~": "end", "\x1b[2~": "insert", "\x1b[3~": "delete",
    "\x1b[5~": "page up", "\x1b[6~": "page down",
    "\x1bOP": "F1", "\x1bOQ": "F2", "\x1bOR": "F3", "\x1bOS": "F4",
    "\x1b[15~": "F5", "\x1b[17~": "F6", "\x1b[18~": "F7", "\x1b[19~": "F8",
    "\x1b[20~": "F9", "\x1b[21~": "F10", "\x1b[23~": "F11", "\x1b[24~": "F12",
}  # fmt: skip
_KEYS: Final = {"\r": "ret", "\n": "nl", "\t": "tab", "\x7f": "backspace", "\x1b": "esc"}
_PARTS: Final = re.compile(
    "|".join([*map(re.escape, sorted(_SEQUENCES, key=len, reverse=True)), "[\x00-\x1f\x7f]"])
    + "|[^\x00-\x1f\x7f]+"
)


def keystrokes(data: str | None) -> str | None:
    """Give what was typed: `ls`, Return and arrow up are `"ls",<ret>,<up>`."""
    if data is None:
        return None
    return ",".join(_shown(part) for part in _PARTS.findall(data))


def _shown(part: str) -> str:
    if part in _SEQUENCES:
        return f"<{_SEQUENCES[part]}>"
    if part in _KEYS:
        return f"<{_KEYS[part]}>"
    if len(part) == 1 and ord(part) < 0x20:
        return f"<^{chr(ord(part) + 0x40)}>"
    return f'"{part}"'
