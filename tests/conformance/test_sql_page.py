"""docs/sql.md has every view and column, with its type, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fixtures.commands import run
from fixtures.logs import load as load_log
from fixtures.logs import login, opening, rows
from sqlalchemy import create_engine, inspect, text

from auditsvc.store import views
from auditsvc.store.read.catalog import views_of

pytestmark = pytest.mark.each_database

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/sql.md").read_text()
README = (ROOT / "README.md").read_text()
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
    "date": "day",
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


def whole(columns):
    """Give the names in a cell of the README: `a0-a3` and `a0_words-a3_words` are four each."""
    return re.sub(
        r"a0(\w*)-a3\1\b",
        lambda found: ", ".join(f"a{number}{found[1]}" for number in range(4)),
        columns,
    ).split(", ")


def test_the_readme_has_every_view():
    """With its columns as on this page, where it has a row of its own with columns."""
    table = README.partition("| View |")[2].partition("\n\n")[0]
    found = re.findall(r"^\| (`.*?`) \| .* \| (.*?) ?\|$", table, flags=re.MULTILINE)
    named = [name for names, _ in found for name in re.findall(r"`(\w+)`", names)]
    assert sorted(named) == sorted(views.NAMES)
    shown = {names.strip("`"): whole(columns) for names, columns in found if columns}
    assert len(shown) > len(views.NAMES) // 2
    assert shown == {view: [name for name, _ in described(view)] for view in shown}


def test_the_help_of_query_names_every_view():
    """And those that --since and --until do not apply to, as they have no event_id."""
    said = " ".join(run("query", "--help", text=True).stdout.split())
    named, without = re.findall(r"views are (.*?); .*? all but (.*?)\.", said)[0]
    assert sorted(re.findall(r"\w+", named.replace(" and ", " "))) == sorted(views.NAMES)
    assert set(re.findall(r"\w+", without.replace(" and ", " "))) == {
        view for view in views.NAMES if "event_id" not in dict(described(view))
    }


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


IN_SQLITE = {"integer": "integer", "boolean": "integer"}


def test_the_shell_shows_these_types(url):
    r"""`\d VIEW`: SQLite itself knows no type of an expression."""
    is_sqlite = url.startswith("sqlite")
    for view, columns in views_of(url).items():
        shown = [(name, _plain(kind)) for name, kind in columns]
        wanted = described(view)
        if is_sqlite:
            wanted = [(name, IN_SQLITE.get(kind, "text")) for name, kind in wanted]
        assert shown == wanted, view


def _plain(kind):
    """Give the page's word for a type: `timestamp` is one with a time zone, here and there."""
    return POSTGRES["timestamp with time zone" if kind == "timestamp" else kind]


@pytest.mark.one_database
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
