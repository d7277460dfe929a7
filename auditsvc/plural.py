"""Numbers with a noun, for messages: "1 rule", "2 rules"."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Give the number and its noun; `plural` where it is not the noun with an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
