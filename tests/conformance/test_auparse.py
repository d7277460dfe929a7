"""auparse, the parser of audit-userspace, agrees on every event, record and field.

Compared are the type of every record, the name and raw value of every field, and, of
the fields of encoded kind, the text. What may differ has a name and a reason in
DIFFERENCES, and each of them must be met; anything else fails.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from auditsvc.decode.fields import USER_AVC, is_encoded, parse_fields, tokens
from auditsvc.decode.types import EOE, TypeTable
from auditsvc.line import ESCAPED, parse_line

auparse = pytest.importorskip("auparse", reason="the package python3-audit is not installed")

DATA = Path(__file__).parent.parent / "data"
LOGS = [DATA / "mixed.log", *sorted(DATA.glob("records/*.log"))]

DIFFERENCES = {
    "escaped line": "auparse does not undo our spool's escapes: such fields are not compared",
    "enriched": "auparse gives enriched fields as interpretations, not as fields",
    "several keys": "auparse makes a field of each key; ours is one, as the record has it",
    "quoted space": "auparse ends a quoted value (AppArmor's profile) at its first space",
    "spaces in node": "auparse passes over such a line (audit-userspace#161)",
    "verdict of user space": "auparse gives an AVC's verdict as fields, not a USER_AVC's",
    "empty value": "auparse leaves out a field without a value",
    "newer type": "types that came after this auparse have no number there (-1)",
    "not text": "the binding cannot show bytes that are not UTF-8",
    "other kind": "auparse does not take AVC's dev= for encoded, and shows data= as keys",
    "escaped text": "auparse shows a control byte in octal, and the backslash with it",
}


def auparse_events(log):
    """Give each event's identity and its records: type and (name, value, meaning) of fields."""
    parser = auparse.AuParser(auparse.AUSOURCE_BUFFER, log)
    while parser.parse_next_event():
        stamp = parser.get_timestamp()
        more_records = parser.first_record()
        records = []
        while more_records:
            fields = []
            more_fields = parser.first_field()
            while more_fields:
                name = parser.get_field_name()
                if name not in ("node", "type"):
                    fields.append((name, parser.get_field_str(), meaning(parser)))
                more_fields = parser.next_field()
            records.append((parser.get_type(), fields))
            more_records = parser.next_record()
        yield (stamp.host, stamp.sec, stamp.milli, stamp.serial), records


def meaning(parser):
    """Give auparse's interpretation of a field, None if the binding cannot."""
    try:
        return parser.interpret_field()
    except UnicodeDecodeError:
        return None


def by_event(pairs):
    """Bring all records of an event together, without EOE."""
    events = {}
    for identity, records in pairs:
        events.setdefault(identity, []).extend(records)
    kept = {key: [each for each in records if each[0] != EOE] for key, records in events.items()}
    return {identity: records for identity, records in kept.items() if records}


def our_events(log, met):
    """Give the same of our reading; what auparse does otherwise is done to it, and counted."""
    types = TypeTable()
    for text in log.splitlines():
        line = parse_line(text)
        number = types.number(line.type_name)
        body = line.body
        escaped = text.endswith(ESCAPED)
        met["escaped line"] += escaped
        if b"\x1d" in body:
            met["enriched"] += 1
            body = body.partition(b"\x1d")[0]
        if auparse_lacks(line.type_name.decode()):
            met["newer type"] += 1
            number = -1
        if line.node is not None and b" " in line.node:
            met["spaces in node"] += 1
            continue
        raw = [(name, value) for name, value in tokens(body) if value is not None]
        decoded = dict(parse_fields(number, body))
        verdict = [(name, decoded[name]) for name in (b"seresult", b"seperms") if name in decoded]
        if verdict and number == USER_AVC:
            met["verdict of user space"] += 1
            verdict = []
        fields = list(changed([*verdict, *raw], met))
        node = line.node.decode() if line.node is not None else None
        identity = (node, line.second, line.ms, line.serial)
        shown = [show(number, *field, met) for field in fields]
        yield identity, [(number, None if escaped else shown)]


def auparse_lacks(name):
    """Tell whether libaudit does not know the name of a type."""
    return pytest.importorskip("audit").audit_name_to_msg_type(name) < 0


def changed(fields, met):
    """Do to raw fields what auparse does."""
    for name, value in fields:
        if not value:
            met["empty value"] += 1
        elif name == b"key" and b"01" in value and value[:1] != b'"':
            met["several keys"] += 1
            for key in bytes.fromhex(value.decode()).split(b"\1"):
                yield name, b'"%b"' % key
        elif value[:1] == b'"' and b" " in value:
            met["quoted space"] += 1
            yield name, value.partition(b" ")[0]
        else:
            yield name, value


def show(number, name, value, met):
    """Give a field's name, raw value, and its text where it is of encoded kind."""
    text = None
    if name in (b"data", b"dev"):
        met["other kind"] += is_encoded(number, name)
    elif is_encoded(number, name) and value != b"(null)" and value.count(b'"') != 1:
        ((_, data),) = parse_fields(number, b"%b=%b" % (name, value))
        try:
            text = data.replace(b"\0", b" ").decode()
        except UnicodeDecodeError:
            met["not text"] += 1
        else:
            if not text.isprintable() or "\\" in text:
                met["escaped text"] += 1
                text = "".join(octal(letter) for letter in text)
    return name.decode(), value.decode(errors="replace"), text


def octal(letter):
    """Show a control byte as auparse does."""
    return f"\\{ord(letter):03o}" if ord(letter) < 32 else letter


@pytest.fixture(scope="module")
def met():
    """Count the differences that were met, by their names."""
    return Counter()


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_auparse_agrees(path, met):
    """Every event, record and field of a log is what auparse finds."""
    # What only we read: the kernel's printing, carriage returns, what is no record.
    lines = [
        line for line in path.read_bytes().splitlines() if line.startswith((b"type=", b"node="))
    ]
    log = b"".join(line + b"\n" for line in lines if not isinstance(parse_line(line), str))
    if path.stem == "raw":
        log = log.replace(b"msg='audit", b"msg=audit").replace(b"quoted'", b"quoted")
    ours = by_event(our_events(log, met))
    theirs = by_event(auparse_events(log.decode()))
    assert ours.keys() == theirs.keys()
    for identity, records in ours.items():
        assert len(records) == len(theirs[identity]), identity
        for (number, fields), (their_number, their_fields) in zip(
            records, theirs[identity], strict=True
        ):
            assert number == their_number
            if fields is None:
                continue
            assert [field[:2] for field in fields] == [field[:2] for field in their_fields]
            for (name, value, text), (_, _, their_text) in zip(fields, their_fields, strict=True):
                if text is not None:
                    assert text == their_text, (identity, name, value)


def test_every_difference_is_met(met):
    """A reason that no log shows any more is taken off the list."""
    assert {name for name, count in met.items() if count} == DIFFERENCES.keys()
