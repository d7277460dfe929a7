"""The fleet without a lake: one that is away, names of batches, and a service that has none."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fixtures.seaweed import keys_file

from auditsvc.config import load_settings
from auditsvc.errors import ConfigError, FleetError
from auditsvc.fleet import lake as tables
from auditsvc.fleet.inbox import Inbox
from auditsvc.fleet.names import batch_of, object_of, quoted, source_of, watermark_of


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
