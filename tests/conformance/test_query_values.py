"""Values of every SQL type, in every format, on both databases: none ends a query."""

from __future__ import annotations

import csv
import io
import json

import pytest
from fixtures.logs import load, login, opening, record, rows

from auditsvc.errors import QueryError
from auditsvc.render.rows import Format, write_rows
from auditsvc.store.read.result import Result
from auditsvc.store.read.sql import run_query

# What each is in JSON; `...`: only that it is valid.
SQLITE = {
    "NULL": None,
    "-13": -13,
    "-9223372036854775808": -(1 << 63),
    "0.1": 0.1,
    "9e999": "Infinity",
    "-9e999": "-Infinity",
    "9e999 - 9e999": None,
    "x'00ff'": "00ff",
    "zeroblob(3)": "000000",
    "CAST(x'61ff62' AS TEXT)": "a\\xffb",
    "CAST(x'edb3bf' AS TEXT)": ...,
    "CAST(x'00' AS TEXT)": "\0",
    "char(27, 0x9b, 0x202e, 0xe0041)": "\x1b\x9b\u202e\U000e0041",
    "date('now')": ...,
    "date('-4000-01-01')": ...,
    "json_array(1, 'x', NULL)": '[1,"x",null]',
    "json('{\"a\":9e999}')": ...,
    "'=1+1'": "=1+1",
}
POSTGRES = {
    "NULL": None,
    "-13": -13,
    "true": True,
    "(-32768)::int2": -32768,
    "(-9223372036854775808)::int8": -(1 << 63),
    "4294967295::oid": 4294967295,
    "0.1::float4": 0.1,
    "'NaN'::float8": "NaN",
    "'-Infinity'::float4": "-Infinity",
    "2.50::numeric": 2.5,
    "'NaN'::numeric": "NaN",
    "'Infinity'::numeric": "Infinity",
    "10::numeric ^ 5000": ...,
    "1e-400::numeric": "1E-400",
    "'$-5.00'::money": ...,
    "'\\x00ff'::bytea": "00ff",
    "'a'::\"char\"": "a",
    "'=1'::name": "=1",
    "'x'::char(3)": "x  ",
    "U&'\\001b\\009b\\202e\\+0e0041'": "\x1b\x9b\u202e\U000e0041",
    "'2026-11-28'::date": "2026-11-28",
    "'infinity'::date": "infinity",
    "'4000-01-01 BC'::date": "4000-01-01 BC",
    "'12:30'::time": "12:30:00",
    "'24:00'::time": "24:00:00",
    "'12:00+14'::timetz": "12:00:00+14",
    "'2026-11-28 01:02:03.4567'::timestamp": "2026-11-28 01:02:03.456",
    "'2026-11-28 01:02:03.4567+02'::timestamptz": "2026-11-27 23:02:03.456",
    "'-infinity'::timestamptz": "-infinity",
    "'294276-01-01'::timestamp": "294276-01-01 00:00:00",
    "'0001-01-01 BC'::timestamptz": ...,
    "'1 mon -2 days 3 sec'::interval": "1 mon -2 days +00:00:03",
    "'178000000 years'::interval": "178000000 years",
    "'[1,5)'::int4range": "[1,5)",
    "int8range(1, NULL)": "[1,)",
    "'[1.5,2.5]'::numrange": "[1.5,2.5]",
    "'[2026-01-01,infinity]'::daterange": "[2026-01-01,infinity]",
    "tsrange('infinity', 'infinity', '[]')": "[infinity,infinity]",
    "tstzrange(NULL, 'infinity')": "(,infinity)",
    "'{[1,2),[3,4)}'::int4multirange": "{[1,2),[3,4)}",
    "'{[infinity,infinity]}'::datemultirange": "{[infinity,infinity]}",
    "ARRAY[[1, 2], [3, NULL]]": [[1, 2], [3, None]],
    "ARRAY['NaN'::float8, '-Infinity']": ["NaN", "-Infinity"],
    "ARRAY['NaN'::numeric, 1.5]": ["NaN", 1.5],
    "ARRAY['\\x00ff'::bytea]": ["00ff"],
    "ARRAY['infinity'::timestamptz]": ["infinity"],
    "ARRAY['2026-11-28'::date]": ["2026-11-28"],
    "ARRAY['[1,5)'::int4range]": ["[1,5)"],
    "ARRAY['1 mon'::interval]": ["1 mon"],
    "ARRAY['[1, 9]'::jsonb]": [[1, 9]],
    "ARRAY[ROW(1, 'x')]": ["(1,x)"],
    "'{}'::int[]": [],
    "ROW(1, NULL, 'infinity'::date)": "(1,,infinity)",
    '\'{"a": [1, null, "x"]}\'::jsonb': {"a": [1, None, "x"]},
    "'null'::json": None,
    '\'{"a":1,"a":2}\'::json': '{"a":1,"a":2}',
    "'1e999'::json": "1e999",
    "(repeat('[', 3000) || repeat(']', 3000))::json": "[" * 3000 + "]" * 3000,
    "('[' || repeat('9', 5000) || ']')::jsonb": f"[{'9' * 5000}]",
    "'\"\\udcff\"'::json": "\udcff",
    "'10.0.0.1'::inet": "10.0.0.1",
    "ARRAY['10.0.0.0/8'::cidr]": ["10.0.0.0/8"],
    "'08:00:2b:01:02:03'::macaddr": "08:00:2b:01:02:03",
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "B'101'": "101",
    "point(1, 2)": "(1,2)",
    "'a b'::tsvector": "'a' 'b'",
    "'<a>=1</a>'::xml": "<a>=1</a>",
    "'(1,2)'::tid": "(1,2)",
    "'0/16'::pg_lsn": "0/16",
    "'pg_class'::regclass": "pg_class",
    "pg_current_snapshot()": ...,
}


def strictly(text):
    """Read JSON as RFC 8259 has it."""

    def refuse(word):
        raise AssertionError(word)

    return json.loads(text.encode().decode(), parse_constant=refuse)


def asked(url, sql):
    """Give a result's columns and rows."""
    with run_query(url, sql) as result:
        return result.columns, list(result)


def written(form, columns, rows):
    """Give what a format writes."""
    out = io.StringIO()
    write_rows(Result(columns, rows), form, out)
    return out.getvalue()


@pytest.fixture(scope="module")
def values(common_url):
    """Give the table of the store's own database."""
    return SQLITE if common_url.startswith("sqlite") else POSTGRES


@pytest.mark.one_database
def test_every_type_is_written_in_every_format(common_url, values):
    """JSON holds the value, or the server's own text of it; CSV and tables are written too."""
    for expression, expected in values.items():
        columns, rows = asked(common_url, f"SELECT {expression} AS value, 'after' AS other")
        line = written(Format.JSONL, columns, rows)
        found = strictly(line)
        if expected is not ...:
            assert found["value"] == expected, expression
            assert type(found["value"]) is type(expected), expression
        assert strictly(written(Format.JSON, columns, rows)) == [found], expression
        text = written(Format.CSV, columns, rows)
        header, row = csv.reader(io.StringIO(text, newline=""))
        assert header == ["value", "other"], expression
        assert row[1:] == ["after"], expression
        assert "after" in written(Format.TABLE, columns, rows), expression


def test_all_types_at_once(common_url, values):
    """A row of all of them is one line of JSON with all columns."""
    columns, rows = asked(common_url, "SELECT " + ", ".join(values))
    line = written(Format.JSONL, columns, rows)
    assert line.count("\n") == 1
    assert len(strictly(line)) == len(values)


@pytest.mark.postgres
@pytest.mark.parametrize(
    "setting",
    [
        "set_config('datestyle', 'German', false)",
        "set_config('datestyle', 'SQL, DMY', false)",
        "set_config('intervalstyle', 'iso_8601', false)",
        "set_config('timezone', 'Pacific/Kiritimati', false)",
        "set_config('bytea_output', 'escape', false)",
        "set_config('extra_float_digits', '-10', false)",
        "set_config('client_encoding', 'LATIN1', false)",
    ],
)
def test_settings_of_a_session_end_no_query(postgres_url, setting):
    """A role's or a statement's own settings change the text of values and nothing else."""
    asked_for = [name for name in POSTGRES if not name.startswith("U&")]
    columns, rows = asked(postgres_url, f"SELECT {setting}, " + ", ".join(asked_for))
    assert len(strictly(written(Format.JSONL, columns, rows))) == len(asked_for) + 1


@pytest.mark.parametrize("sql", ["SELECT '\udcff'", 'SELECT 1 AS "\udcff"', "SELECT '\0'"])
def test_text_that_cannot_be_sent_is_refused_in_a_line(common_url, sql):
    """An argument that is no UTF-8 is the statement's fault and no traceback."""
    with pytest.raises(QueryError) as caught:
        asked(common_url, sql)
    assert "\n" not in str(caught.value)


def test_a_condition_on_fields_reads_no_other_text(url):
    """Texts that are no JSON, such as paths, are never taken for fields."""
    load(url, opening(1) + login(2) + record("AVC", 3, "apparmor=DENIED"))
    for view in ("events", "records"):
        sql = f"SELECT count(*) AS n FROM {view} WHERE fields ->> 'res' = 'failed'"
        assert rows(url, sql) == [{"n": 1 if view == "events" else 0}]
    assert rows(url, "SELECT count(*) AS n FROM syscalls WHERE argv ->> 0 = 'x'") == [{"n": 0}]
