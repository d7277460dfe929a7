"""docs/sql.md has every view and column, with its type, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fixtures.logs import load as load_log
from fixtures.logs import login, opening, rows
from sqlalchemy import create_engine, inspect, text

from auditsvc.store import views

PAGE = (Path(__file__).parents[2] / "docs/sql.md").read_text()
PARTS = {
    part.partition("\n")[0].strip(): part
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
}
POSTGRES = {
    "bigint": "integer",
    "integer": "integer",
    "smallint": "integer",
    "text": "text",
    "timestamp with time zone": "time",
    "boolean": "boolean",
    "jsonb": "json",
}


def described(view):
    """Give the columns of a view and their types, as the page has them."""
    found = re.findall(r"^\| (\w+) \| (\w+) \| \S", PARTS[view], flags=re.MULTILINE)
    assert found[0] == ("Column", "Type")
    return found[1:]


def test_every_view_has_its_part():
    """And there is no part of a view that is none."""
    assert set(PARTS) - {"Types"} == set(views.NAMES)


@pytest.mark.parametrize("view", views.NAMES)
def test_columns_and_types(url, view):
    """The names in their order; the types as PostgreSQL says them."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    found = [column["name"] for column in inspect(engine).get_columns(view)]
    assert [name for name, _ in described(view)] == found
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            types = connection.execute(
                text(
                    "SELECT column_name, data_type FROM information_schema.columns"
                    " WHERE table_name = :view AND table_schema = 'public'"
                    " ORDER BY ordinal_position"
                ),
                {"view": view},
            )
            there = [(row.column_name, POSTGRES[row.data_type]) for row in types]
        assert described(view) == there
    engine.dispose()


def test_examples_run(url):
    """On both databases, `false` as each spells it."""
    load_log(url, opening(1, success="no", exit="-13") + opening(2) + login(3))
    examples = [
        line
        for block in re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(examples) > len(views.NAMES)
    for example in examples:
        sql = example.replace("= false", "= 0") if url.startswith("sqlite") else example
        rows(url, sql)
