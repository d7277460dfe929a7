"""What Spark and Trino are given to reach the lake: no key is shown, and views are made of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from auditsvc.config import load_settings
from auditsvc.errors import ConfigError
from auditsvc.fleet import spark
from auditsvc.fleet.ask import COLUMNS

TOOLS = Path(__file__).parents[2] / "tools"
BUILT = TOOLS.parent / "build/spark"
SECRET = "not-to-be-shown"
GIVEN = {
    "bucket": "inbox",
    "endpoint": "https://s3.example:8333",
    "catalog": "https://s3.example:8181",
    "warehouse": "s3://lake",
}
_PROGRAM = """#!/bin/sh
printf '%s\\n' "$@" > "{folder}/words"
echo left > derby.log
while [ $# -gt 0 ]; do case $1 in --properties-file|-i|-f)
    stat -c %a "$2" >> "{folder}/modes"; cat "$2" >> "{folder}/text"; esac; shift; done
exit 7
"""


@pytest.fixture
def fleet(tmp_path):
    """Give settings with keys in a file."""
    keys = tmp_path / "keys.toml"
    keys.write_text(f'access_key = "{SECRET}"\nsecret_key = "{SECRET}"\n')
    keys.chmod(0o600)
    return load_settings(fleet=GIVEN | {"credentials": str(keys)}).fleet


@pytest.mark.parametrize("engine", ["spark", "trino"])
def test_settings_are_shown_without_keys(fleet, engine):
    """And written with them."""
    shown = spark.settings_text(engine, fleet, with_keys=False)
    assert SECRET not in shown
    assert "https://s3.example:8181" in shown
    assert spark.settings_text(engine, fleet, with_keys=True).count(SECRET) == 4


def test_without_a_catalog_there_are_none():
    """It says which setting is missing."""
    with pytest.raises(ConfigError, match="no catalog"):
        spark.settings_text("spark", load_settings().fleet, with_keys=False)


def test_keys_with_a_token_are_refused_for_trino_which_knows_none(fleet):
    """Settings without it would be refused by the object store, which says less."""
    with fleet.credentials.open("a") as file:
        file.write('session_token = "short"\n')
    assert "s3.session-token" in spark.settings_text("spark", fleet, with_keys=True)
    with pytest.raises(ConfigError, match="takes no session_token"):
        spark.settings_text("trino", fleet, with_keys=False)


def test_each_view_of_the_fleet_but_two_is_made(fleet):
    """In an order in which each is made of those before it."""
    names = [each.split()[5] for each in spark.statements(fleet)]
    assert names[0] == "current_rows"
    assert sorted(names[1:]) == sorted(COLUMNS.keys() - {"ways", "ledger"})


def test_keys_go_in_a_file_and_not_in_words(fleet, tmp_path, monkeypatch):
    """That the user alone can read, for as long as it runs; its exit status is ours."""
    home = tmp_path / "spark"
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "spark-sql"
    program.write_text(_PROGRAM.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("SPARK_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    more = tmp_path / "more.conf"
    more.write_text("spark.jars /opt/iceberg.jar\n")
    assert spark.run_spark_sql(fleet, "SELECT 1;", master="spark://m:7077", more=more) == 7
    words = (tmp_path / "words").read_text()
    assert SECRET not in words
    assert "spark://m:7077" in words
    assert (tmp_path / "modes").read_text().split() == ["600", "600", "600"]
    text = (tmp_path / "text").read_text()
    assert SECRET in text
    assert "spark.jars.packages" not in text
    assert text.endswith("SELECT 1;\n")
    assert not [each for each in words.split() if each.startswith("/") and Path(each).exists()]
    assert not (tmp_path / "derby.log").exists()


def test_without_spark_it_says_what_to_do(fleet, monkeypatch, tmp_path):
    """In one line."""
    monkeypatch.delenv("SPARK_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="there is no spark-sql") as raised:
        spark.run_spark_sql(fleet)
    assert "SPARK_HOME" in str(raised.value)


@pytest.mark.long
@pytest.mark.skipif(
    not (shutil.which("mvn") and shutil.which("java")), reason="it needs mvn and Java 17"
)
def test_a_cluster_answers_as_duckdb_while_a_worker_and_a_volume_server_die():
    """`make fleet-spark`: each view row for row; they are killed in the middle of a question."""
    subprocess.run([TOOLS / "spark/unpack", BUILT, sys.executable], check=True, timeout=1500)
    done = subprocess.run(
        [sys.executable, TOOLS / "fleet-spark", BUILT],
        capture_output=True,
        text=True,
        check=False,
        timeout=3000,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all the same" in done.stdout
    assert "killed, and the question still ran" in done.stdout
    assert done.stdout.rstrip().endswith("the same")
