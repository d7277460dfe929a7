"""Fixtures of several files: every decoder, a stage for the guard, a machine for the doctor."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial

import pytest
from fixtures.guard_stage import Stage

from auditsvc.config import Settings
from auditsvc.decode import DECODERS, make_decoder
from auditsvc.doctor import Machine
from auditsvc.store import schema

TABLES = {table.name: table for table in (*schema.DIMENSIONS, *schema.FACTS, schema.record_type)}

# Columns that hold ids of dimension rows, and of which table.
REFERENCES = {
    "context": dict.fromkeys(("tty", "comm", "exe", "subj", "key", "cwd", "title", "extra"), "text")
    | {"host": "host"},
    "file": dict.fromkeys(("name", "obj", "extra"), "text"),
    "syscall": {"context": "context"},
    "exec": {"argv": "text"},
    "path": {"file": "file"},
    "sockaddr": {"address": "address"},
    "event": {"host": "host", "fields": "text"},
    "record": {"fields": "text"},
}


class Decoded:
    """What a decoder made of a log; rows become dictionaries with all they refer to."""

    def __init__(self) -> None:
        self.dimensions = defaultdict(list)
        self.facts = defaultdict(list)
        self.weights = defaultdict(list)
        self.raw = []
        self.counts = defaultdict(int)
        self.open_records = 0

    def add(self, batch):
        """Put a batch behind those before."""
        for own, new in (
            (self.dimensions, batch.dimensions),
            (self.facts, batch.facts),
            (self.weights, batch.facts.weights),
        ):
            for table, rows in new.items():
                assert rows, table
                own[table] += rows
        self.raw += batch.raw
        for name, count in batch.counts.items():
            self.counts[name] += count

    def rows(self, table):
        """Give the rows of a fact table as dictionaries."""
        if not hasattr(self, "_by_id"):
            self._by_id = {
                name: {row[0]: row for row in rows} for name, rows in self.dimensions.items()
            }
        return [self._row(table, row) for row in self.facts.get(table, ())]

    def _row(self, table, row):
        names = [column.name for column in TABLES[table].columns]
        shown = dict(zip(names, row, strict=True))
        for name, other in REFERENCES.get(table, {}).items():
            if shown[name] is not None:
                shown[name] = self._row(other, self._by_id[other][shown[name]])
        if table in schema.metadata.tables and TABLES[table] in schema.DIMENSIONS:
            del shown["id"]
        if table == "text":
            return shown["value"] if shown["raw"] is None else shown
        return shown["name"] if table == "host" else shown

    def balance(self):
        """Give the number of records received that nothing accounts for."""
        counts = self.counts
        return counts["received"] - (
            counts["stored"] + counts["end"] + counts["raw"] + self.open_records
        )

    def everything(self):
        """Give all that came out, for comparison."""
        return (
            dict(self.dimensions),
            dict(self.facts),
            dict(self.weights),
            self.raw,
            dict(self.counts),
        )


@pytest.fixture(params=list(DECODERS), scope="session")
def make(request):
    """Make a decoder of the implementation under test."""
    return partial(make_decoder, request.param, secret=b"secret", host="here")


@pytest.fixture(scope="session")
def decode(make):
    """Decode a whole log: bytes, or a list of lines or of pieces to be fed one by one."""

    def run(log, *, pieces=None, finish=True, **options):
        if isinstance(log, list):
            log = "".join(line + "\n" for line in log)
        if isinstance(log, str):
            log = log.encode()
        machine = make(**options)
        decoded = Decoded()
        for piece in pieces or [log]:
            machine.feed(piece, 0.0)
        if finish:
            machine.finish()
        decoded.add(machine.take())
        decoded.open_records = machine.open_records
        return decoded

    return run


@pytest.fixture(scope="session")
def decoded():
    """Make an empty collection of batches."""
    return Decoded


def as_json(value):
    """Show what JSON has no type for."""
    return value.hex(" ") if isinstance(value, bytes) else str(value)


@pytest.fixture
def golden(request):
    """Compare with a file beside the log, or write it (pytest --regenerate)."""

    def check(path, found):
        text = json.dumps(found, indent=1, ensure_ascii=False, default=as_json) + "\n"
        if request.config.getoption("--regenerate"):
            path.write_text(text)
        assert json.loads(path.read_text()) == json.loads(text)

    return check


@pytest.fixture
def stage(tmp_path):
    """Make a stage; `restore=True` for a guard that puts back."""
    made = []

    def make(*loaded, begun=True, **options):
        made.append(Stage(tmp_path, loaded, **options))
        if begun:
            made[-1].guard.begin()
        return made[-1]

    yield make
    for each in made:
        each.writer.close()


@pytest.fixture
def machine(tmp_path):
    """Make a machine of files; a value that begins with -> is a symbolic link."""

    def make(files):
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(text, bytes):
                file.write_bytes(text)
            elif text.startswith("->"):
                file.symlink_to(text[2:])
            else:
                file.write_text(text)
        return Machine(tmp_path)

    return make


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Settings of a service that keeps everything under one folder."""
    monkeypatch.delenv("AUDITSVC_CONFIG", raising=False)
    monkeypatch.setattr("auditsvc.config.DEFAULT_FILE", tmp_path / "absent.toml")
    return Settings(
        store=f"sqlite:///{tmp_path}/state/x.db",
        state_directory=tmp_path / "state",
        runtime_directory=tmp_path / "run",
    )
