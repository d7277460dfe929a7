"""docs/rules.md, also auditsvc.rules(7): the language of rule files, from the parser's tables."""

from __future__ import annotations

from typing import Final

from auditsvc.rule.build import ACTIONS, LISTS
from auditsvc.rule.fields import BY_NUMBER, FILETYPES, OPERATORS, PERMS, Field, Kind
from auditsvc.ruleset import controls

_KINDS: Final = {
    Kind.NUMBER: "number",
    Kind.HEX: "number, also hexadecimal",
    Kind.UNSIGNED: "number",
    Kind.UID: "number, user name or `unset`",
    Kind.GID: "number or group name",
    Kind.SESSION: "number or `unset`",
    Kind.EXIT: "number or errno name, as `-EACCES`",
    Kind.RECORD_TYPE: "record type, by name or number",
    Kind.ARCH: "`b64`, `b32` or a machine's name",
    Kind.PERM: f"letters of `{''.join(PERMS)}`",
    Kind.FILETYPE: ", ".join(f"`{name}`" for name in FILETYPES),
    Kind.FSTYPE: "`debugfs` or `tracefs`",
    Kind.TEXT: "text",
    Kind.COMPARE: "a number; write it as `-C FIELD=FIELD`",
}
_HEAD: Final = """\
# Rule files

Made by `make pages` from the parser's own tables; do not edit.

The language of rule files is auditctl's: a file that auditctl reads is read here, and the other
way round. One command a line; a line that begins with `#` is a comment. `auditsvc rules check`
shows every error, and rules that do not do what they seem to.

## Commands

| Command | Meaning |
|---|---|
| `-a LIST,ACTION` | add a rule at the end of a list; `-A` at its beginning |
| `-d LIST,ACTION` | delete that rule |
| `-w PATH -p PERMISSIONS` | watch a file or folder; `-W` deletes that watch |
| `-S CALL` | one or more system calls, by name or number, or `all` |
| `-F FIELD OPERATOR VALUE` | a condition, without spaces; all must hold |
| `-C FIELD=FIELD` | compare two fields |
| `-k KEY` | the key by which events are found; all keys of a rule share 256 bytes |
| `-D` | delete all rules, or those with `-k KEY` |
| `-b`, `-e`, `-f`, `-r`, `--backlog_wait_time` | settings of the kernel |
| `-i`, `-c` | go on after an error; with `-c` the exit status tells |
"""


def rules_page() -> str:
    """Write the page."""
    lists = ", ".join(f"`{name}`" for name in LISTS)
    actions = " or ".join(f"`{name}`" for name in ACTIONS)
    fields = "".join(_row(field) for field in BY_NUMBER.values())
    sets = "".join(f"| `{name}` | {_about(name)} |\n" for name in controls.names())
    return (
        f"{_HEAD}\nLists: {lists}. Action: {actions}. Of a list's rules, the first that matches"
        f" decides.\n\n## Fields\n\nOperators: {', '.join(f'`{each}`' for each in OPERATORS)}.\n\n"
        f"| Field | Operators | Lists | Value |\n|---|---|---|---|\n{fields}\n"
        "## Shipped sets\n\nA name is used like a file: `auditsvc run --rules stig-rhel9`.\n\n"
        f"| Set | For |\n|---|---|\n{sets}"
    )


def _row(field: Field) -> str:
    operators = " ".join(each for each in OPERATORS if each in field.operators)
    lists = " ".join(name for name, number in LISTS.items() if number in field.lists)
    return f"| `{field.name}` | `{operators}` | {lists} | {_KINDS[field.kind]} |\n"


def _about(name: str) -> str:
    """Give the first sentence of a set's head."""
    lines: list[str] = []
    for line in controls.find(name).read_text().splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or (lines and not text):
            break
        lines.append(text)
    return " ".join(lines).partition(". ")[0].rstrip(".:")
