"""Which command a command line names; known before any command is loaded."""

from __future__ import annotations


def named(words: list[str]) -> tuple[str | None, str | None]:
    """Give the verb of a command line, and of a group the verb in it; None for one it has not."""
    found: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--config":
            next(rest, None)
        elif found and word == "--help":
            break
        elif not word.startswith("-"):
            found.append(word)
    first, second, *_ = (*found, None, None)
    return first, second
