r"""A record's body -> its fields, each decoded by its kind.

A body is `name=value` tokens separated by spaces. A value is

    "text"    the text between the quotes (a quote is never inside; after the second quote
              another token begins)
    'text'    only of `msg=`, up to the body's last quote; it is replaced by its own fields
    { text }  of enriched fields (SADDR={ saddr_fam=inet ... }), kept with its braces
    text      up to the next space

A field of encoded kind (the kernel's audit_log_untrustedstring(), libaudit's
audit_encode_nv_string()) that is not quoted is upper-case hex of its bytes, and
`(null)` means no value. Only the name and the record's type say whether a field is
encoded: `3005` can be a number or two bytes. Values that are not such hex (odd length,
lower case) are kept as text, as are the kernel's `?` (did not fit) and `(none)`.

auditd's enriched fields follow a byte 0x1d, which separates tokens like a space.

Text is UTF-8; other bytes, and NUL, are shown as \xHH.
A token without `=` is a word. Words come last, joined by spaces, as the field `_`;
those of an SELinux AVC record, `avc:  denied  { read } for`, become
`seresult=denied seperms=read`, the names that auparse uses.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.record.types import AVC, EXECVE, USER_AVC

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

UNSET: Final = 0xFFFFFFFF
"""An id that is not set, such as the auid of a task without a login."""

_ENCODED_ALWAYS: Final = frozenset(
    b"acct cgroup cmd comm cwd data device dir exe file grp invalid_context key name new-chardev"
    b" new-disk new-fs new-net new-rng new_group ocomm old-chardev old-disk old-fs old-net old-rng"
    b" path proctitle root_dir sw vm watch".split()
)
# lsm_audit.c (dev), AppArmor's audit_cb(), landlock's audit.c.
_APPARMOR: Final = frozenset(b"dev info label namespace peer profile target".split())
_ENCODED_OF_TYPE: Final = {AVC: _APPARMOR, 1423: frozenset((b"dev",))} | dict.fromkeys(
    range(1500, 1508), _APPARMOR
)
_ARGUMENT: Final = re.compile(rb"a[0-9]+(?:\[[0-9]+\])?")

_DECIMAL: Final = re.compile(rb"-?[0-9]{1,20}")
_HEX: Final = re.compile(rb"(?:[0-9A-F]{2})+")
_TOKEN: Final = re.compile(rb"[ \x1d]*([^ =\x1d]*)(?:=(\"[^\"]*\"|\{ [^}\x1d]*\}|[^ \x1d]*))?")
_TOKEN_UNBRACED: Final = re.compile(rb"[ \x1d]*([^ =\x1d]*)(?:=(\"[^\"]*\"|[^ \x1d]*))?")
_BRACE_END: Final = re.compile(rb"[}\x1d]")
_MESSAGE: Final = b"msg='"
_FEW_BRACES: Final = 16


class Field(NamedTuple):
    """A field: the value's bytes decoded (None for a `(null)` of encoded kind)."""

    name: bytes
    value: bytes | None


def _hex_escapes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    bad = error.object[error.start : error.end]
    return "".join(f"\\x{byte:02X}" for byte in bad), error.end


codecs.register_error("auditsvc.hex", _hex_escapes)


def to_text(data: bytes) -> tuple[str, bool]:
    r"""Give bytes as text, and whether the text is exact (no \xHH was needed)."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data.decode(errors="auditsvc.hex").replace("\0", "\\x00"), False
    if "\0" in text:
        return text.replace("\0", "\\x00"), False
    return text, True


def signed(number: int) -> int:
    """Convert an unsigned 64-bit number to the signed number of the same bits."""
    return number - (1 << 64) if number >= 1 << 63 else number


def to_int(value: bytes | None) -> int | None:
    """Read a decimal number of 64 bits, signed or not; None if it is not one."""
    if value is None or not _DECIMAL.fullmatch(value):
        return None
    number = int(value)
    return number if -(1 << 63) <= number < 1 << 64 else None


def is_encoded(record_type: int, name: bytes) -> bool:
    """Whether a field is of the encoded kind."""
    if record_type == EXECVE:
        return _ARGUMENT.fullmatch(name) is not None
    return name in _ENCODED_ALWAYS or name in _ENCODED_OF_TYPE.get(record_type, ())


def decode_value(record_type: int, name: bytes, value: bytes) -> bytes | None:
    """Decode a raw value of a record."""
    if value[:1] == b'"' and value[-1:] == b'"' and len(value) > 1:
        return value[1:-1]
    if is_encoded(record_type, name):
        if value == b"(null)":
            return None
        if _HEX.fullmatch(value):
            return bytes.fromhex(value.decode())
    return value


def tokens(body: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Give the fields of a body in order, as names and raw values; words have None."""
    start = body.find(_MESSAGE)
    if start > 0 and body[start - 1] != 0x20:
        start = -1
    end = body.rfind(b"'", start + len(_MESSAGE)) if start >= 0 else -1
    if end < 0:
        yield from _split(body)
        return
    yield from _split(body[:start])
    yield from _inside(_split(body[start + len(_MESSAGE) : end]))
    yield from _split(body[end + 1 :])


def _split(body: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    if b"={ " not in body:
        matches = _TOKEN_UNBRACED.finditer(body)
    elif body.count(b"={ ") <= _FEW_BRACES:
        matches = _TOKEN.finditer(body)
    else:
        matches = _braced(body)
    for match in matches:
        name, value = match.groups()
        if name or value is not None:
            yield name, value


def _braced(body: bytes) -> Iterator[re.Match[bytes]]:
    """Work as `_TOKEN.finditer`, but search only once for the end of a brace that has none."""
    at = unended = 0
    while at < len(body):
        match = (_TOKEN_UNBRACED if at < unended else _TOKEN).match(body, at)
        assert match is not None  # the pattern also matches the empty string
        yield match
        if at >= unended and match[2] == b"{":
            end = _BRACE_END.search(body, match.end())
            unended = end.start() if end else len(body)
        at = max(match.end(), at + 1)


def _inside(pairs: Iterable[tuple[bytes, bytes | None]]) -> Iterator[tuple[bytes, bytes | None]]:
    """Remove the punctuation of messages: `(hostname=?, addr=?, res=success)`."""
    for name, value in pairs:
        if value is None:
            yield name, None
            continue
        plain = value.removesuffix(b":").removesuffix(b",")
        if b"(" not in plain:
            plain = plain.removesuffix(b")")
        yield name.removeprefix(b"("), plain


def parse_fields(record_type: int, body: bytes) -> list[Field]:
    """Give a record's fields in order, words last."""
    fields: list[Field] = []
    words: list[bytes] = []
    for name, value in tokens(body):
        if value is None:
            words.append(name)
        else:
            fields.append(Field(name, decode_value(record_type, name, value)))
    if words and record_type in (AVC, USER_AVC):
        verdict, words = _access_vector(words)
        fields = verdict + fields
    if words:
        fields.append(Field(b"_", b" ".join(words)))
    return fields


def _access_vector(words: list[bytes]) -> tuple[list[Field], list[bytes]]:
    """Read `avc:  denied  { read write } for`; gives its fields and the remaining words."""
    if words[0] != b"avc:" or len(words) < 2:
        return [], words
    verdict = [Field(b"seresult", words[1])]
    rest = words[2:]
    if rest[:1] == [b"{"] and b"}" in rest:
        end = rest.index(b"}")
        verdict.append(Field(b"seperms", b",".join(rest[1:end])))
        rest = rest[end + 1 :]
    if rest[:1] == [b"for"]:
        rest = rest[1:]
    return verdict, rest


def to_json(fields: Iterable[Field]) -> tuple[str, bool]:
    """Write fields as a JSON object of texts; also gives whether the texts are exact.

    The value of a repeated name is a list, in the order of the record. No spaces, and no
    escapes except those that JSON requires.
    """
    exact = True
    texts: dict[str, str | list[str | None] | None] = {}
    for name, value in fields:
        label, clean = to_text(name)
        exact &= clean
        text = None
        if value is not None:
            text, clean = to_text(value)
            exact &= clean
        if label not in texts:
            texts[label] = text
            continue
        earlier = texts[label]
        if isinstance(earlier, list):
            earlier.append(text)
        else:
            texts[label] = [earlier, text]
    return json.dumps(texts, ensure_ascii=False, separators=(",", ":")), exact
