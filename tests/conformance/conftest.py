"""One store of each kind, and a forwarder of one."""

from __future__ import annotations

import zlib
from contextlib import ExitStack, contextmanager

import pytest
from fixtures import kept_session
from fixtures.forwarding import Forwarding
from fixtures.lake import Lake, identities
from fixtures.logs import load
from fixtures.rotated import Stores
from fixtures.seaweed import lake as run_lake

from auditsvc.search import interpret
from auditsvc.store import objects_postgres, open_store
from auditsvc.web import events

KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=KINDS)
def new_url(request, tmp_path):
    """Give the URL of a store that is not there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return request.getfixturevalue("empty_postgres_url")


_HERE = "relnamespace = quote_ident(current_schema())::regnamespace"
_CATALOGUE = f"""
SELECT md5(string_agg(row, ',' ORDER BY row)) FROM (
    SELECT concat_ws(' ', 'class', oid, xmin) AS row FROM pg_class WHERE {_HERE}
    UNION ALL
    SELECT concat_ws(' ', 'rule', r.oid, r.xmin)
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE c.{_HERE}
    UNION ALL
    SELECT concat_ws(' ', 'column', a.attrelid, a.attnum, a.xmin)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.{_HERE}
    UNION ALL
    SELECT concat_ws(' ', 'index', i.indexrelid, i.xmin)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.{_HERE}
    UNION ALL
    SELECT concat_ws(' ', 'part', i.inhrelid, i.xmin)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent WHERE c.{_HERE}
    UNION ALL
    SELECT concat_ws(' ', 'trigger', t.oid, t.xmin)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.{_HERE}
    UNION ALL
    SELECT concat_ws(' ', 'default', d.oid, d.xmin)
    FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid WHERE c.{_HERE}
    UNION ALL
    SELECT concat_ws(' ', 'constraint', oid, xmin) FROM pg_constraint
    WHERE con{_HERE.removeprefix("rel")}
    UNION ALL
    SELECT concat_ws(' ', 'function', oid, xmin) FROM pg_proc WHERE pro{_HERE.removeprefix("rel")}
    UNION ALL
    SELECT concat_ws(' ', 'operator', oid, xmin)
    FROM pg_operator WHERE opr{_HERE.removeprefix("rel")}
    UNION ALL
    SELECT concat_ws(' ', 'statistics', oid, xmin)
    FROM pg_statistic_ext WHERE stx{_HERE.removeprefix("rel")}
) rows
"""
"""Which versions of the catalogue's rows there are: any change of an object of ours is another."""
_VIEWS = f"""
SELECT md5(string_agg(row, ',' ORDER BY row)) FROM (
    SELECT concat_ws(' ', 'view', oid, relname, relkind, CASE relkind WHEN 'v' THEN xmin END)
    AS row FROM pg_class WHERE {_HERE} AND NOT relispartition
    UNION ALL
    SELECT concat_ws(' ', 'rule', r.oid, r.xmin)
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE c.{_HERE}
    UNION ALL
    SELECT concat_ws(' ', 'column', a.attrelid, a.attnum, a.xmin) FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid WHERE c.{_HERE} AND NOT c.relispartition
) rows
"""
"""The same, of what views are made of: no partition is."""


@pytest.fixture(autouse=True, scope="session")
def compared_once():
    """Search stores whose catalogue is the same once for strangers: that takes a server 90 ms.

    80 of them are for the views, which are the same when a partition has come. The tests open
    copies of one store some thousand times; a program opens one. Gives the program's own functions
    by name, for who tests those.
    """
    search, found = objects_postgres.strangers, {}
    changed_views, compared = objects_postgres._changed_views, {}

    def strangers(connection, *, whole):
        if not whole:  # as quick as to ask for the state
            yield from search(connection, whole=False)
            return
        state = connection.exec_driver_sql(_CATALOGUE).scalar()
        if state not in found:
            found[state] = list(search(connection, whole=True))
        yield from found[state]

    def changed(connection):
        state = connection.exec_driver_sql(_VIEWS).scalar()
        if state not in compared:
            compared[state] = list(changed_views(connection))
        yield from compared[state]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects_postgres, "strangers", strangers)
        patch.setattr(objects_postgres, "_changed_views", changed)
        yield {"strangers": search, "_changed_views": changed_views}


@pytest.fixture(autouse=True, scope="session")
def whole_pages():
    """Have a page of events looked for to its end, as on a quick host; tests of parts say so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "SECONDS", 60.0)
        yield


@pytest.fixture(scope="session")
def made_in_sqlite(tmp_path_factory):
    """Make an empty SQLite store once; gives its bytes, which no test can change for another."""
    path = tmp_path_factory.mktemp("made") / "store.db"
    open_store(f"sqlite:///{path}").close()
    return path.read_bytes()


@pytest.fixture
def made(made_in_sqlite, tmp_path):
    """Give the path of an empty SQLite store of this test's own."""
    return _written(made_in_sqlite, tmp_path / "made.db")


def _written(data, path):
    path.touch(0o600)
    path.write_bytes(data)
    return path


@pytest.fixture(scope="session")
def made_in_postgres(postgres_server):
    """Make an empty PostgreSQL store once; gives its URL, to be copied."""
    with postgres_server.database() as url:
        open_store(url).close()
        yield url


@pytest.fixture
def postgres_url(postgres_server, made_in_postgres):
    """Give the URL of an empty store on PostgreSQL."""
    with postgres_server.database(made_in_postgres) as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server):
    """Give the URL of a database in which no store is yet."""
    with postgres_server.database() as url:
        yield url


@contextmanager
def _copy(request, kind, folder):
    """Give the URL of a new, empty store of a kind.

    A copy: to make one takes longer than most tests.
    """
    if kind == "sqlite":
        path = _written(request.getfixturevalue("made_in_sqlite"), folder / "store.db")
        yield f"sqlite:///{path}"
        return
    template = request.getfixturevalue("made_in_postgres")
    with request.getfixturevalue("postgres_server").database(template) as url:
        yield url


@pytest.fixture(params=KINDS)
def url(request, tmp_path):
    """Give the URL of an empty store."""
    with _copy(request, request.param, tmp_path) as url:
        yield url


@pytest.fixture(params=KINDS, scope="module")
def common_url(request, tmp_path_factory):
    """Give the URL of an empty store that all tests of a module read."""
    with _copy(request, request.param, tmp_path_factory.mktemp("common")) as url:
        yield kept_session.lasting(url)


@pytest.fixture(scope="module")
def store_of_kind(request, tmp_path_factory):
    """Give a function that gives the URL of a new, empty store of a kind, for all of a module.

    For what is made once of each kind, by tests that have other parameters beside.
    """
    with ExitStack() as stores:
        yield lambda kind: kept_session.lasting(
            stores.enter_context(_copy(request, kind, tmp_path_factory.mktemp("common")))
        )


@pytest.fixture(params=KINDS)
def kind(request):
    """Give the kind of a store."""
    return request.param


@pytest.fixture
def sqlite(tmp_path):
    """Give the URL of an SQLite store that is not there yet."""
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def forwarding(journald, sqlite, tmp_path):
    """Give a forwarder that the store knows."""
    load(sqlite, "")
    made = Forwarding(journald, sqlite, tmp_path)
    made.register()
    return made


@pytest.fixture
def stores(made, tmp_path):
    """Give empty stores on SQLite."""
    (tmp_path / "stores").mkdir()
    return Stores(made, tmp_path / "stores")


@pytest.fixture(scope="session")
def lake_server(tmp_path_factory):
    """Run one object store and catalog for all tests that end neither; gives its settings."""
    with run_lake(tmp_path_factory.mktemp("lake"), identities()) as found:
        yield found


@pytest.fixture
def lake(lake_server, request):
    """Give a new table, and a part of the inbox."""
    return Lake(lake_server, f"t{zlib.crc32(request.node.nodeid.encode()):08x}")


@pytest.fixture
def ids(monkeypatch):
    """Let search show users as the views do: by their ids."""
    monkeypatch.setattr(interpret, "user", str)
    monkeypatch.setattr(interpret, "group", str)
    interpret.argument.cache_clear()
    yield
    interpret.argument.cache_clear()
