"""Spark and Trino on the table: their settings, and the views for Spark.

    settings_text("spark", settings.fleet, with_keys=False)     # ConfigError
    views_text(settings.fleet)              # CREATE TEMPORARY VIEW ..., in their order
    run_spark_sql(settings.fleet, "SELECT ...")                 # gives its exit status

Keys stand only in files of mode 0600; in a text for people stands what is to be put there.

The views are those of `auditsvc.fleet.views`, `batches` and `across`, translated from DuckDB's SQL
by sqlglot, with the types of the table: a `time` is a timestamp, `success` a boolean. They are of
one session, as not every catalog has views.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlglot import transpile

from auditsvc.archive.credentials import keys_of
from auditsvc.errors import ConfigError
from auditsvc.fleet import across, batches, views
from auditsvc.fleet.lake import CREDENTIAL, SETTING
from auditsvc.host.files import read_named, replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditsvc.config import FleetSettings

CATALOG: Final = "lake"
"""The name of the catalog in the engine's session."""
SPARK: Final = "4.0"
ICEBERG: Final = "1.11.0"
"""Of the programs that this was tried with."""
PACKAGES: Final = (
    f"org.apache.iceberg:iceberg-spark-runtime-{SPARK}_2.13:{ICEBERG}",
    f"org.apache.iceberg:iceberg-aws-bundle:{ICEBERG}",
)
_REDACTED: Final = "(?i)secret|password|token|access.?key|credential"
_ROWS: Final = "current_rows"
"""The view of all rows that count."""
_LEFT_OUT: Final = ("ways", "ledger")
"""A recursive query, and keys of JSON at a path: Spark 4.0 has neither."""
_IN_SPARK: Final = {
    "unnest(json_extract_string(fields, '$.addresses[*]'))": (
        "unnest(json_array_of_texts(json_extract_string(fields, '$.addresses')))"
    ),
    "epoch_ms(": "unix_millis(",
}
"""What sqlglot does not translate, and what it then gives for it."""
_AFTER: Final = {
    "JSON_ARRAY_OF_TEXTS(GET_JSON_OBJECT(fields, '$.addresses'))": (
        "FROM_JSON(GET_JSON_OBJECT(fields, '$.addresses'), 'ARRAY<STRING>')"
    )
}
VIEWS: Final = tuple(
    name for name in (*views.VIEWS, *batches.COLUMNS, *across.COLUMNS) if name not in _LEFT_OUT
)
"""The views that Spark gets."""


_STAND_FOR: Final = {
    "spark": {"access_key": "ACCESS_KEY", "secret_key": "SECRET_KEY"},
    "trino": {
        "access_key": "${ENV:AUDITSVC_ACCESS_KEY}",
        "secret_key": "${ENV:AUDITSVC_SECRET_KEY}",
    },
}
"""What is shown in place of keys; Trino takes them from its environment."""
_MOST: Final = 1 << 20


def settings_text(engine: str, settings: FleetSettings, *, with_keys: bool) -> str:
    """Give the settings of an engine, a line each; ConfigError if there is no catalog.

    Trino 476 has no setting for the token of keys that end: for these it is refused.
    """
    keys = keys_of(settings.credentials, CREDENTIAL, SETTING)
    if engine == "trino" and "session_token" in keys:
        raise ConfigError(
            "Trino takes no session_token",
            "give it a key of its own, or no credentials: it then has those of its machine",
        )
    if keys and not with_keys:
        keys = _STAND_FOR[engine]
    between = " " if engine == "spark" else "="
    made = properties(engine, settings, keys)
    return "".join(f"{name}{between}{value}\n" for name, value in made.items())


def views_text(settings: FleetSettings) -> str:
    """Give the statements that make the views of a session of Spark."""
    return "".join(f"{each};\n" for each in statements(settings))


def find_spark_sql() -> str:
    """Give the program; ConfigError with what to do if there is none."""
    home = os.environ.get("SPARK_HOME")
    beside = Path(home) / "bin" / "spark-sql" if home else None
    found = str(beside) if beside and beside.exists() else shutil.which("spark-sql")
    if found is None:
        raise ConfigError(
            "there is no spark-sql",
            f"set SPARK_HOME to a Spark {SPARK}, or `pip install 'pyspark=={SPARK}.*'`;"
            " `auditsvc fleet settings --for spark` shows what another one needs",
        )
    return found


def run_spark_sql(
    settings: FleetSettings, sql: str = "", *, master: str = "local[*]", more: Path | None = None
) -> int:
    """Run it with settings and views, at a prompt or for one statement; gives its exit status.

    `more`: a file with settings of Spark that come after these. With `spark.jars` in it, or
    `spark.jars.packages`, no packages of ours are loaded.
    """
    program = str(Path(find_spark_sql()).absolute())
    text = settings_text("spark", settings, with_keys=True)
    if more is not None:
        own = read_named(more, _MOST).decode()
        if "spark.jars" in own:
            text = text.partition("\n")[2]
        text += own
    folder = Path(tempfile.mkdtemp(prefix="auditsvc-spark."))
    try:
        replace_file(folder / "properties", text)
        replace_file(folder / "views.sql", views_text(settings))
        command = [program, "--master", master, "--properties-file", str(folder / "properties")]
        command += ["-i", str(folder / "views.sql")]
        if sql:
            replace_file(folder / "query.sql", sql.rstrip().removesuffix(";") + ";\n")
            command += ["-f", str(folder / "query.sql")]
        # It leaves a database of its own, and a log of that, where it is started.
        running = subprocess.Popen(command, cwd=folder)
        while True:
            try:
                return running.wait()
            except KeyboardInterrupt:  # it has got it too, and ends the statement, or itself
                continue
    finally:
        shutil.rmtree(folder)


def properties(engine: str, settings: FleetSettings, keys: Mapping[str, str]) -> dict[str, str]:
    """Give the settings of a catalog `lake`; ConfigError if there is none to reach.

    `keys`: `access_key`, `secret_key`, and `session_token` if there is one; none: the machine's.
    """
    if settings.catalog is None:
        raise ConfigError("there is no catalog", "set fleet.catalog (AUDITSVC_FLEET__CATALOG)")
    made = _trino(settings, keys) if engine == "trino" else _spark(settings, keys)
    return {name: value for name, value in made.items() if value}


def _spark(settings: FleetSettings, keys: Mapping[str, str]) -> dict[str, str]:
    of = f"spark.sql.catalog.{CATALOG}"
    is_signed = settings.catalog_auth == "sigv4"
    is_oauth = settings.catalog_auth == "oauth2" and bool(keys)
    catalog = str(settings.catalog).rstrip("/")
    return {
        "spark.jars.packages": ",".join(PACKAGES),
        "spark.sql.extensions": (
            "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
        ),
        "spark.sql.session.timeZone": "UTC",
        "spark.redaction.regex": _REDACTED,
        of: "org.apache.iceberg.spark.SparkCatalog",
        f"{of}.type": "rest",
        f"{of}.uri": catalog,
        f"{of}.warehouse": settings.warehouse or "",
        f"{of}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        f"{of}.s3.endpoint": settings.endpoint or "",
        f"{of}.s3.path-style-access": "true" if settings.endpoint else "",
        f"{of}.client.region": settings.region,
        f"{of}.rest.sigv4-enabled": "true" if is_signed else "",
        f"{of}.rest.signing-name": "s3tables" if is_signed else "",
        f"{of}.rest.signing-region": settings.region if is_signed else "",
        f"{of}.oauth2-server-uri": f"{catalog}/v1/oauth/tokens" if is_oauth else "",
        f"{of}.credential": f"{keys['access_key']}:{keys['secret_key']}" if is_oauth else "",
        f"{of}.s3.access-key-id": keys.get("access_key", ""),
        f"{of}.s3.secret-access-key": keys.get("secret_key", ""),
        f"{of}.s3.session-token": keys.get("session_token", ""),
    }


def _trino(settings: FleetSettings, keys: Mapping[str, str]) -> dict[str, str]:
    is_signed = settings.catalog_auth == "sigv4"
    is_oauth = settings.catalog_auth == "oauth2" and bool(keys)
    catalog = str(settings.catalog).rstrip("/")
    return {
        "connector.name": "iceberg",
        "iceberg.catalog.type": "rest",
        "iceberg.rest-catalog.uri": catalog,
        "iceberg.rest-catalog.warehouse": settings.warehouse or "",
        "iceberg.rest-catalog.security": (
            "SIGV4" if is_signed else "OAUTH2" if is_oauth else "NONE"
        ),
        "iceberg.rest-catalog.signing-name": "s3tables" if is_signed else "",
        "iceberg.rest-catalog.oauth2.server-uri": (
            f"{catalog}/v1/oauth/tokens" if is_oauth else ""
        ),
        "iceberg.rest-catalog.oauth2.credential": (
            f"{keys['access_key']}:{keys['secret_key']}" if is_oauth else ""
        ),
        "fs.native-s3.enabled": "true",
        "s3.endpoint": settings.endpoint or "",
        "s3.region": settings.region,
        "s3.path-style-access": "true" if settings.endpoint else "",
        "s3.aws-access-key": keys.get("access_key", ""),
        "s3.aws-secret-key": keys.get("secret_key", ""),
    }


def statements(settings: FleetSettings) -> list[str]:
    """Give the views for Spark, each a statement, after those that it is made of."""
    table = f"{CATALOG}.{settings.table}"
    made = {_ROWS: views.current(table, f"({views.later(table)})")}
    made |= {name: views.select(name, _ROWS) for name in views.VIEWS}
    made |= {name: batches.select(name, table) for name in (*batches.VIEWS,) if name in VIEWS}
    told = batches.select("told_batches", table)
    made |= {
        name: across.select(name, lambda of: told if of == "told_batches" else of)
        for name in across.COLUMNS
        if name in VIEWS
    }
    return [
        f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {_translated(text)}"
        for name, text in made.items()
    ]


def _translated(text: str) -> str:
    for old, new in _IN_SPARK.items():
        text = text.replace(old, new)
    found = transpile(text, read="duckdb", write="spark")[0]
    for old, new in _AFTER.items():
        found = found.replace(old, new)
    return found
