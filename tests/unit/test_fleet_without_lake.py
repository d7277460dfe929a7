"""The fleet without a lake: one that is away, names of batches, and a service that has none."""

from __future__ import annotations

import subprocess
import sys
from itertools import count

import pytest
from fixtures.certificates import certificates, tls_before
from fixtures.seaweed import keys_file

from auditsvc.cli.fleet import commit
from auditsvc.config import load_settings
from auditsvc.errors import ConfigError, FleetError
from auditsvc.fleet import lake as tables
from auditsvc.fleet.commit import Done
from auditsvc.fleet.inbox import Inbox, hint_of
from auditsvc.fleet.lake import Mark
from auditsvc.fleet.names import batch_of, object_of, quoted, source_of, watermark_of
from auditsvc.fleet.report import _of_store


def test_a_fleet_that_is_away_is_one_line(tmp_path):
    """Of the inbox and of the catalog; and settings that say nothing."""
    away = {"bucket": "bucket", "endpoint": "http://127.0.0.1:9", "catalog": "http://127.0.0.1:9"}
    keys = keys_file(tmp_path / "keys", "a", "b")
    given = load_settings(fleet=away | {"credentials": keys}).fleet
    with pytest.raises(FleetError, match=r"fleet http://127\.0\.0\.1:9/bucket"):
        Inbox(given).put("x", b"")
    with pytest.raises(FleetError, match=r"fleet http://127\.0\.0\.1:9"):
        tables.open_table(given)
    with pytest.raises(ConfigError, match=r"fleet\.bucket"):
        Inbox(load_settings().fleet)


@pytest.mark.parametrize(
    ("days", "address", "is_known", "says"),
    [
        (-1, "127.0.0.1", True, "has expired, or this clock is ahead"),
        (1, "127.0.0.2", True, "is for another name than the address"),
        (1, "127.0.0.1", False, "fleet.ca names the authority"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said(tmp_path, days, address, is_known, says):
    """In one line, with what to look at; nothing is sent to such a server."""
    tls = certificates(tmp_path, address, days=days)
    (tmp_path / "other").mkdir()
    known = tls.authority if is_known else certificates(tmp_path / "other").authority
    with tls_before(tls, 9) as port:
        given = {"bucket": "bucket", "endpoint": f"https://127.0.0.1:{port}", "ca": known}
        given["credentials"] = keys_file(tmp_path / "keys", "a", "b")
        with pytest.raises(FleetError, match=says):
            Inbox(load_settings(fleet=given).fleet).put("x", b"")


def test_what_the_files_client_says_of_a_certificate_has_a_hint():
    """It has words of its own; and a clock that is wrong is no matter of keys."""
    of_files = "curlCode: 60, SSL peer certificate or SSH remote key was not OK"
    assert "fleet.ca" in hint_of(OSError(of_files))
    assert "clock" in hint_of(OSError("An error occurred (RequestTimeTooSkewed)"))
    assert not hint_of(OSError("An error occurred (AccessDenied)"))


def test_a_host_whose_clock_is_ahead_is_told():
    """Else it would be called silent hours too late."""
    found = _of_store(Mark(n=1, made=10_000.0), [], 900.0, 100.0)
    assert found["wrong"] == ["its clock is 9900 s ahead"]
    assert _of_store(Mark(n=1, made=100.5), [], 900.0, 100.0)["wrong"] == []


class _Committer:
    """Is refused; the second ends the program."""

    done = Done()

    def __init__(self, number):
        self._number = number

    def step(self):
        """Commit nothing."""
        if self._number == 1:
            raise FleetError("AccessDenied")
        raise KeyboardInterrupt


def test_a_committer_that_was_refused_reads_its_keys_anew(monkeypatch):
    """They may have been replaced; it goes on without being started again."""
    numbers = count(1)
    monkeypatch.setattr(commit.time, "sleep", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        commit._follow(lambda: _Committer(next(numbers)), 1.0)
    assert next(numbers) == 3


@pytest.mark.parametrize("host", ["web1", "a/b", "..", ".", "a b%2F", "ü"])
def test_names_of_batches_say_whose_they_are(host):
    """Whatever the host's name is, and nobody's name is below another's."""
    name = object_of("0", host, "ab" * 16, 7)
    assert batch_of(name) == (host, "ab" * 16, 7)
    assert len(name.split("/")) == 5
    assert source_of(watermark_of(host, "ab" * 16)) == (host, "ab" * 16)
    assert ".." not in name.split("/")
    assert batch_of(f"inbox/0/{quoted(host)}/xy/000000000001.parquet") is None


def test_the_service_imports_nothing_of_it():
    """Neither Arrow nor a client of S3 or Iceberg while [fleet] is not set, nor PostgreSQL's."""
    lake = ("pyarrow", "boto3", "botocore", "pyiceberg", "duckdb")
    names = (*lake, "psycopg", "sqlalchemy.dialects.postgresql", "alembic")
    code = (
        "import sys, auditsvc.service.run, auditsvc.status.report, auditsvc.cli.fleet;"
        "import auditsvc.cli.search;"
        f"print([n for n in {names} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
