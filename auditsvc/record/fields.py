r"""A record's body -> its fields, each decoded by its kind.

A body is `name=value` tokens separated by spaces. A value is

    "text"    the text between the quotes (a quote is never inside; what follows the
              second one is another token)
    'text'    the same, if a divider follows; of `msg=`, up to the body's last quote: its own
              fields follow in its place
    text (mode)  of AppArmor's labels in `subj`, `obj` and their kin; a profile's name may have
              blanks, but no word with `=` or `(` before the mode
    { text }  of enriched fields (SADDR={ saddr_fam=inet ... }), kept with its braces
    text      up to the next space

A field of encoded kind (the kernel's audit_log_untrustedstring(), libaudit's
audit_encode_nv_string()) that is not quoted is upper-case hex of its bytes, and
`(null)` is no value. Whether a field is encoded follows from its name and the
record's type alone: `3005` can be a number or two bytes. What does not fit (odd length)
stays the text that it is, as do the kernel's bare `?` (did not fit) and `(none)`.

auditd's enriched fields follow a 0x1d; that byte separates like a space. Programs that
relay lines write it in their own way (`RELAYED`), or leave it out: an enriched name that stands
at the end of an unquoted value begins another field all the same.

LOGIN of kernels before 3.14 says `old auid=1 new auid=2`: that is old-auid=1 auid=2.

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

from auditsvc.record.types import (
    ANOM_PROMISCUOUS,
    AVC,
    EXECVE,
    LOGIN,
    NETFILTER_CFG,
    USER_AVC,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

UNSET: Final = 0xFFFFFFFF
"""An id that is not set, such as the auid of a task without a login."""

_ENCODED_ALWAYS: Final = frozenset(
    b"acct cgroup cmd comm cwd data device dir exe file grp invalid_context key name new-chardev"
    b" new-disk new-fs new-net new-rng new_group ocomm old-chardev old-disk old-fs old-net old-rng"
    b" path proctitle root_dir sw vm watch".split()
)
# lsm_audit.c (dev, key_desc, kmod), selinux/avc.c (srawcon, trawcon), landlock's audit.c, and
# AppArmor's audit callbacks: file.c, mount.c (fstype, srcname, trans, options), net.c and
# af_unix.c (addr, peer_addr).
_OF_LSM: Final = frozenset(
    b"addr dev fstype info key_desc kmod label namespace options peer peer_addr profile srawcon"
    b" srcname target trans trawcon".split()
)
_ENCODED_OF_TYPE: Final = {AVC: _OF_LSM, 1423: frozenset((b"dev",))} | dict.fromkeys(
    range(1500, 1508), _OF_LSM
)
# An IPC's key, which older kernels print in decimal (ipc_kernel: dump_common_audit_data).
_NOT_ENCODED: Final = ((AVC, b"key"),)
_LOGIN_NAMES: Final = (b"auid", b"ses")
_ARGUMENT: Final = re.compile(rb"a[0-9]+(?:\[[0-9]+\])?")

_CONTROL: Final = re.compile("[\0-\x07\x0b\x0e-\x1f]")

_DECIMAL: Final = re.compile(rb"-?[0-9]{1,20}")
_HEX: Final = re.compile(rb"(?:[0-9A-Fa-f]{2})+")
_TOKEN: Final = re.compile(rb"[ \x1d]*([^ =\x1d]*)(?:=(\"[^\"]*\"|\{ [^}\x1d]*\}|[^ \x1d]*))?")
_TOKEN_UNBRACED: Final = re.compile(rb"[ \x1d]*([^ =\x1d]*)(?:=(\"[^\"]*\"|[^ \x1d]*))?")
# The same, but of a value without quotes or braces only where it begins: it may hold very many
# fields without a separator, and each would look for its end again.
_NAME: Final = re.compile(rb"[ \x1d]*([^ =\x1d]*)(?:=(\"[^\"]*\"|\{ [^}\x1d]*\}|))?")
_NAME_UNBRACED: Final = re.compile(rb"[ \x1d]*([^ =\x1d]*)(?:=(\"[^\"]*\"|))?")
_SEPARATOR: Final = re.compile(rb"[ \x1d]")
_BRACE_END: Final = re.compile(rb"[}\x1d]")
# What needs more than `_TOKEN`: quotes, a label's mode, an enriched name behind something.
_ODD: Final = re.compile(rb"='| \([a-z]+\)(?:[ \x1d]|\Z)|[^ \x1d](?:SADDR|ARCH|SYSCALL|[UG]ID)=")
_QUOTED: Final = re.compile(rb"'[^']*'(?=[ \x1d]|\Z)")
_MODE: Final = re.compile(rb"(?: [^ =\x1d(]+)* \([a-z]+\)(?=[ \x1d]|\Z)")
_LABELS: Final = re.compile(rb"(?:subj|obj)(?:_[a-z]+)?")
# auditd's format_event: names of accounts in quotes, and SADDR={ ... }.
RELAYED: Final = rb"#035|\\x1[dD]|\\035|\^\]|\\u001[dD]|\xef\xbf\xbd"
"""Pattern of a 0x1d as other programs write it: rsyslog (by default, with C-style escapes, with
another prefix), busybox and sysklogd, JSON, and what replaces a character that cannot be shown."""
ACCOUNTS: Final = rb"(?:OLD-A?|F?S|E|O?A|O|I|INODE_)?UID|(?:F?S|E|O|I|INODE_|NEW_)?GID"
"""Pattern of auditd's names of fields that have names of accounts."""
ENRICHED: Final = rb"[A-Z_-]*[UG]ID|ID|ARCH|SYSCALL|SADDR"
"""Pattern of all names of auditd's enriched fields, and of more that nobody uses."""
_ENRICHED: Final = re.compile(ENRICHED)
_GLUED: Final = re.compile(
    rb"(%b)?(?:(?:%b)=\"|ARCH=[a-z]|SYSCALL=[a-z]|SADDR=\{)" % (RELAYED, ACCOUNTS)
)
_NAMED: Final = {NETFILTER_CFG: (b"table=", b" family="), ANOM_PROMISCUOUS: (b"dev=", b" prom=")}
"""Records that begin with a name that any user may choose (in a user namespace of his own) and that
the kernel does not encode (audit_log_nfcfg, __dev_set_promiscuity): its field, and what follows."""
_MESSAGE: Final = b"msg='"
_MARKS: Final = (b'"', b"'")
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


def _marks(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "?" * (error.end - error.start), error.end


codecs.register_error("auditsvc.mark", _marks)


def to_text(data: bytes) -> tuple[str, bool]:
    r"""Give bytes as text, and whether the text is exact (no \xHH was needed)."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data.decode(errors="auditsvc.hex").replace("\0", "\\x00"), False
    if "\0" in text:
        return text.replace("\0", "\\x00"), False
    return text, True


def to_short_text(data: bytes) -> tuple[str, bool]:
    """Give bytes as text that is no longer than they are, and whether it is exact.

    Each byte that is no text, and each control byte without a short form in JSON, is a `?`.
    """
    text = data.decode(errors="auditsvc.mark")
    shown = _CONTROL.sub("?", text)
    return shown, shown.encode() == data


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
    if (record_type, name) in _NOT_ENCODED:
        return False
    return name in _ENCODED_ALWAYS or name in _ENCODED_OF_TYPE.get(record_type, ())


def decode_value(record_type: int, name: bytes, value: bytes) -> bytes | None:
    """Decode a value as it stands in the record."""
    if value[:1] in _MARKS and value[-1:] == value[:1] and len(value) > 1:
        return value[1:-1]
    if is_encoded(record_type, name):
        if value == b"(null)":
            return None
        if _HEX.fullmatch(value):
            return bytes.fromhex(value.decode())
    return value


def tokens(body: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Give the fields of a body in order, as names and raw values; words have None."""
    # Behind a space: a label or another value may end with these letters.
    start = 0 if body.startswith(_MESSAGE) else body.find(b" " + _MESSAGE) + 1 or -1
    end = body.rfind(b"'", start + len(_MESSAGE)) if start >= 0 else -1
    if end < 0:
        yield from _split(body)
        return
    yield from _split(body[:start])
    yield from _inside(_split(body[start + len(_MESSAGE) : end]))
    yield from _split(body[end + 1 :])


def _split(body: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    if _may_be_odd(body) and _ODD.search(body):
        yield from _split_odd(body)
        return
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


def _may_be_odd(body: bytes) -> bool:
    """Whether `_ODD` has to be tried: a quick check."""
    if b"='" in body or b" (" in body:
        return True
    if b"\x1d" in body:  # enriched fields stand where they belong
        return False
    return b'ID="' in body or b"ARCH=" in body or b"SYSCALL=" in body or b"SADDR={" in body


def _split_odd(body: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Split like `_split`, with all forms of values."""
    ends = _Ends(body)
    at = 0
    while at < len(body):
        match = (_NAME_UNBRACED if at < ends.unended else _NAME).match(body, at)
        assert match is not None  # it takes nothing, too
        name = match[1]
        at = match.end()
        if match[2] is not None:
            start = match.start(2)
            plain = ends.blank(start) if at == start else at
            end, at = ends.find(name, start, plain)
            yield ends.name(match), body[start:end]
        elif name:
            yield name, None


class _Ends:
    """Finds the ends of values; remembers missing ends, so that none is searched twice."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._has_quotes = True
        self._is_enriched = b"\x1d" in body
        self._blank = -1
        self.unended = 0
        """No brace that opens before it has an end."""

    def blank(self, start: int) -> int:
        """Find the first separator from there on."""
        if self._blank < start:
            found = _SEPARATOR.search(self._body, start)
            self._blank = found.start() if found else len(self._body)
        return self._blank

    def name(self, match: re.Match[bytes]) -> bytes:
        """Give the name of a token without what a relay made of the 0x1d before it."""
        name: bytes = match[1]
        if self._is_enriched or not (glued := _GLUED.match(self._body, match.start(1))):
            return name
        return name[len(glued[1] or b"") :]

    def find(self, name: bytes, start: int, end: int) -> tuple[int, int]:
        """Give where the value of a token ends, and where the next token begins.

        `start`, `end`: of the value, if none of its forms is one with blanks.
        """
        body = self._body
        first, last, size = body[start : start + 2], body[end - 1 : end], end - start
        if first == b"{ " and size == 1 and start >= self.unended:
            found = _BRACE_END.search(body, end)
            self.unended = found.start() if found else len(body)
        if (first == b"{ " and size > 1) or (size > 1 and first[:1] == last == b'"'):
            return end, end
        if size and first[:1] == b"'":
            if self._has_quotes and (quoted := _QUOTED.match(body, start)):
                end = quoted.end()
            else:
                self._has_quotes &= body.find(b"'", start + 1) >= 0
            return end, end
        if _LABELS.fullmatch(name):
            mode = _MODE.match(body, end)
            return (end, end) if mode is None else (mode.end(), mode.end())
        if size and not self._is_enriched and first[:1] not in (b'"', b"{"):
            glued = _GLUED.search(body, start + 1, end + 2)
            if glued and glued.start() < end:
                return glued.start(), glued.end(1) if glued[1] else glued.start()
        return end, end


def _inside(pairs: Iterable[tuple[bytes, bytes | None]]) -> Iterator[tuple[bytes, bytes | None]]:
    """Remove the punctuation of messages: `(hostname=?, addr=?, res=success)`.

    What a program's message has under a name of auditd's enriched fields is a word: auditd writes
    these behind the message, and a program must not say who it was.
    """
    for name, value in pairs:
        if value is None:
            yield name, None
            continue
        if _ENRICHED.fullmatch(name.removeprefix(b"(")):
            yield name + b"=" + value, None
            continue
        plain = value.removesuffix(b":").removesuffix(b",")
        if b"(" not in plain:
            plain = plain.removesuffix(b")")
        yield name.removeprefix(b"("), plain


def _pairs(record_type: int, body: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Give the tokens of a record of this type; a name that any user may choose is one value."""
    if end := name_end(record_type, body):
        name, _, value = body[:end].partition(b"=")
        yield name, value
        body = body[end:]
    yield from tokens(body)


def name_end(record_type: int, body: bytes) -> int:
    """Give where the name ends that any user may choose, of a record that begins so; else 0."""
    begin, following = _NAMED.get(record_type, (b"", b""))
    if not begin or not body.startswith(begin):
        return 0
    end = body.rfind(following)
    return end if end >= len(begin) else 0


def parse_fields(record_type: int, body: bytes) -> list[Field]:
    """Give a record's fields in order, words last."""
    fields: list[Field] = []
    words: list[bytes] = []
    for name, value in _pairs(record_type, body):
        if value is None:
            words.append(name)
            continue
        is_old = False
        if record_type == LOGIN and name in _LOGIN_NAMES and words[-1:] in ([b"old"], [b"new"]):
            is_old = words.pop() == b"old"
        shown = b"old-" + name if is_old else name
        fields.append(Field(shown, decode_value(record_type, name, value)))
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


def to_json(
    fields: Iterable[Field], shown_as: Callable[[bytes], tuple[str, bool]] = to_text
) -> tuple[str, bool]:
    """Write fields as a JSON object of texts; also gives whether the texts are exact.

    The value of a repeated name is a list, in the order of the record. No spaces, and no
    escapes except those that JSON requires. `shown_as` gives the text of a value.
    """
    exact = True
    texts: dict[str, str | list[str | None] | None] = {}
    for name, value in fields:
        label, clean = to_text(name)
        exact &= clean
        text = None
        if value is not None:
            text, clean = shown_as(value)
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
