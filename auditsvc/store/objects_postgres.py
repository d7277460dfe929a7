"""What in a PostgreSQL store is not ours (`auditsvc.store.objects`): by the catalogue.

A view is compared with what the server makes of our statement, as it keeps no text. Partitions of
our tables are ours if they are plain tables in our schema, with a name as
`auditsvc.store.partitions` gives; their indexes must be parts of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.dialects import postgresql

from auditsvc.store.objects import INDEXES, REVISION_TABLE, TABLES, view_bodies
from auditsvc.store.schema import (
    FACTS,
    SESSION,
    SETTLED_INDEXES,
    TEXT_INDEX,
    TIME_INDEX,
    metadata,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Row

_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]
_HERE: Final = "c.relnamespace = quote_ident(current_schema())::regnamespace"
_TABLES: Final = "(c.relname = ANY(%(tables)s) OR c.relispartition AND c.relkind = 'r')"
_OURS: Final = "(c.relname = ANY(%(ours)s) OR c.relispartition AND c.relkind = 'r')"
_IS_PART: Final = (
    "part.relkind = 'r' AND part.relispartition AND part.relnamespace = c.relnamespace"
    " AND part.relname ~ ('^' || c.relname || '_[0-9]{8}(_[0-9]{8})?$')"
)

# What may run at a write, or take it elsewhere; triggers of constraints are the server's own.
_RUNNING: Final = f"""
    SELECT 'trigger ' || t.tgname || ' on ' || c.relname
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE {_HERE} AND {_OURS} AND NOT t.tgisinternal
    UNION ALL
    SELECT 'rule ' || r.rulename || ' on ' || c.relname
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
    WHERE {_HERE} AND {_OURS}
        AND NOT (c.relkind = 'v' AND r.rulename = '_RETURN')
    UNION ALL
    SELECT CASE c.relkind WHEN 'f' THEN 'foreign table ' WHEN 'v' THEN 'view '
        ELSE 'other table ' END || c.relname || ' (in a table''s place)'
    FROM pg_class c
    WHERE {_HERE} AND c.relname = ANY(%(tables)s) AND c.relkind NOT IN ('r', 'p')
    UNION ALL
    SELECT 'foreign table ' || c.relname FROM pg_class c
    WHERE {_HERE} AND c.relname <> ALL(%(tables)s) AND c.relkind = 'f'
    UNION ALL
    SELECT 'row security of ' || c.relname FROM pg_class c
    WHERE {_HERE} AND c.relname = ANY(%(tables)s) AND c.relrowsecurity
    UNION ALL
    SELECT 'table ' || i.inhrelid::regclass || ' (a part of ' || c.relname || ')'
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent
    JOIN pg_class part ON part.oid = i.inhrelid
    WHERE {_HERE} AND {_TABLES} AND NOT ({_IS_PART})
    UNION ALL
    SELECT 'constraint ' || o.conname || ' on ' || c.relname
    FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
    WHERE {_HERE} AND {_TABLES} AND o.contype IN ('c', 'f', 't', 'x')
    UNION ALL
    SELECT 'default of ' || c.relname || '.' || a.attname
    FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid
    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE {_HERE} AND {_TABLES}
        AND c.relname || '.' || a.attname || ' ' || pg_get_expr(d.adbin, d.adrelid)
            <> ALL(%(defaults)s)"""  # noqa: S608 - of this module's text only

_WHOLE: Final = f"""
    SELECT 'table ' || c.relname FROM pg_class c
    WHERE {_HERE} AND c.relname <> ALL(%(tables)s) AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
            AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'index ' || x.relname || ' on ' || c.relname
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
    WHERE {_HERE} AND c.relname = ANY(%(tables)s) AND x.relname <> ALL(%(indexes)s)
        AND NOT EXISTS (SELECT FROM pg_constraint o
            WHERE o.conindid = x.oid AND o.conname = ANY(%(constraints)s))
    UNION ALL
    SELECT 'index ' || x.relname || ' on ' || c.relname
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
    WHERE {_HERE} AND c.relispartition AND NOT x.relispartition
    UNION ALL
    SELECT 'other table ' || c.relname || ' (in a table''s place)' FROM pg_class c
    WHERE {_HERE} AND c.relname = ANY(%(tables)s)
        AND (c.relkind = 'p') <> (c.relname = ANY(%(facts)s))
    UNION ALL
    SELECT 'index ' || x.relname || ' on ' || c.relname || ' (changed)'
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
    WHERE {_HERE} AND c.relname = ANY(%(tables)s) AND x.relname = ANY(%(indexes)s)
        AND (i.indisunique OR i.indexprs IS NOT NULL AND x.relname <> ALL(%(on_time)s))
    UNION ALL
    SELECT 'column ' || c.relname || '.' || a.attname
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE {_HERE} AND c.relname = ANY(%(tables)s) AND a.attnum > 0 AND NOT a.attisdropped
        AND c.relname || '.' || a.attname <> ALL(%(columns)s)
    UNION ALL
    SELECT 'column ' || c.relname || '.' || a.attname || ' (changed)'
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
    WHERE {_HERE} AND c.relname = ANY(%(tables)s) AND a.attnum > 0 AND NOT a.attisdropped
        AND c.relname || '.' || a.attname = ANY(%(columns)s)
        AND (a.attcollation <> t.typcollation OR a.attidentity <> ''
            OR c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
                <> ALL(%(types)s))
    UNION ALL
    SELECT 'constraint ' || o.conname || ' on ' || c.relname || ' (changed)'
    FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
    WHERE {_HERE} AND c.relname = ANY(%(tables)s) AND o.contype IN ('p', 'u')
        AND c.relname || ' ' || replace(pg_get_constraintdef(o.oid), '"', '') <> ALL(%(keys)s)
    UNION ALL
    SELECT 'table ' || c.relname || ' (unlogged: a crash of the server empties it)' FROM pg_class c
    WHERE {_HERE} AND {_TABLES} AND c.relpersistence = 'u'
    UNION ALL
    SELECT 'statistics ' || s.stxname || ' on ' || c.relname
    FROM pg_statistic_ext s JOIN pg_class c ON c.oid = s.stxrelid
    WHERE {_HERE} AND {_OURS} AND 'e' = ANY(s.stxkind)
    UNION ALL -- what takes a call's types as they are is chosen before the server's own
    SELECT 'function ' || f.oid::regprocedure || ' (beside the server''s own of that name)'
    FROM pg_proc f WHERE {_HERE.replace("c.relnamespace", "f.pronamespace")}
        AND EXISTS (SELECT FROM pg_proc own
            WHERE own.pronamespace = 'pg_catalog'::regnamespace AND own.proname = f.proname)
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
            AND d.objid = f.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'operator ' || o.oid::regoperator || ' (beside the server''s own of that name)'
    FROM pg_operator o WHERE {_HERE.replace("c.relnamespace", "o.oprnamespace")}
        AND EXISTS (SELECT FROM pg_operator own
            WHERE own.oprnamespace = 'pg_catalog'::regnamespace AND own.oprname = o.oprname)
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_operator'::regclass
            AND d.objid = o.oid AND d.deptype = 'e')"""  # noqa: S608 - as above

# Flags of pg_class that show whether a check is needed: cheap enough for each transaction.
SUSPECT: Final = f"""
    SELECT 1 FROM pg_class c WHERE {_HERE} AND (c.relkind = 'f' OR c.relkind IN ('r', 'p', 'v')
        AND (c.relhastriggers OR c.relrowsecurity OR c.relhassubclass AND c.relkind <> 'p'
            OR c.relhasrules AND c.relkind <> 'v'))
    UNION ALL
    SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent
    JOIN pg_class part ON part.oid = i.inhrelid
    WHERE {_HERE} AND c.relkind = 'p' AND NOT ({_IS_PART}) LIMIT 1"""  # noqa: S608 - as above

_VALUES: Final = {
    "tables": sorted(TABLES),
    "facts": sorted(table.name for table in FACTS),
    "ours": sorted({*TABLES, *view_bodies("postgresql")}),
    "indexes": sorted(
        [
            *(*INDEXES, *TIME_INDEX, "activity_hour"),
            *(name for each in SETTLED_INDEXES.values() for name in each["postgresql"]),
            TEXT_INDEX["postgresql"][0].split()[2],
        ]
    ),
    "on_time": list(TIME_INDEX),
    "defaults": [f"{table}.{column} {value}" for (table, column), value in SESSION.items()],
    "constraints": [
        *(f"{table}_pkey" for table in metadata.tables),
        *("alembic_version_pkc", "source_kind_name"),
    ],
    "columns": [
        *(
            f"{table.name}.{name}"
            for table in metadata.tables.values()
            for name in (column.name for column in table.columns)
        ),
        f"{REVISION_TABLE}.version_num",
    ],
    "types": [
        *(
            f"{table.name}.{column.name} {column.type.compile(dialect=_DIALECT).lower()}"
            for table in metadata.tables.values()
            for column in table.columns
        ),
        f"{REVISION_TABLE}.version_num character varying(32)",
    ],
    "keys": [
        *(
            f"{table.name} PRIMARY KEY ({', '.join(table.primary_key.columns.keys())})"
            for table in metadata.tables.values()
        ),
        "source UNIQUE (kind, name)",
        f"{REVISION_TABLE} PRIMARY KEY (version_num)",
    ],
}

_Version = tuple[Any, ...] | None

_UNCHANGED: Final[dict[_Version, dict[str, str]]] = {}
_UNCHANGED_INDEXES: Final[dict[tuple[_Version, str], Row[Any]]] = {}
"""What servers of a version were found to make of our statements."""


def strangers(connection: Connection, *, whole: bool) -> Iterator[str]:
    """Name them."""
    for statement in (_RUNNING, _WHOLE) if whole else (_RUNNING,):
        yield from (str(name) for (name,) in connection.exec_driver_sql(statement, _VALUES))
    if whole:
        yield from _changed_time_indexes(connection)
        yield from _changed_views(connection)


def _changed_time_indexes(connection: Connection) -> Iterator[str]:
    """Compare the indexes on an expression with what the server makes of our statements.

    That is asked as for the views.
    """
    shown = (
        "SELECT pg_get_expr(indexprs, indrelid), pg_get_expr(indpred, indrelid), indkey::text,"
        " (SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.oid = indexrelid)"
        " FROM pg_index WHERE indexrelid = to_regclass(%s)"
    )
    version = connection.dialect.server_version_info
    for name, statement in TIME_INDEX.items():
        stored = connection.exec_driver_sql(shown, (name,)).first()
        if stored is None or _UNCHANGED_INDEXES.get((version, name)) == stored:
            continue
        table = name.removesuffix("_time")
        with connection.begin_nested() as trial:
            connection.exec_driver_sql(f"CREATE TEMPORARY TABLE auditsvc_trial (LIKE {table})")
            words = statement.replace(f" ON {table} ", " ON pg_temp.auditsvc_trial ")
            connection.exec_driver_sql(words.replace(f"INDEX {name}", "INDEX auditsvc_trial_time"))
            expected = connection.exec_driver_sql(shown, ("pg_temp.auditsvc_trial_time",)).first()
            trial.rollback()
        if stored == expected:
            _UNCHANGED_INDEXES[version, name] = stored
        else:
            yield f"index {name} on {table} (changed)"


def _changed_views(connection: Connection) -> Iterator[str]:
    """Compare the views with what the server makes of our statements, all in one attempt.

    That is asked of each version of the server once in a process, as it takes a fifth of a
    second; and again before any view is called changed.
    """
    bodies = view_bodies("postgresql")
    stored = _definitions(connection, {name: name for name in bodies})
    version = connection.dialect.server_version_info
    if not stored or _UNCHANGED.get(version) == stored:
        return
    trials = {name: f"auditsvc_trial_{n}" for n, name in enumerate(stored)}
    begin = "CREATE TEMPORARY VIEW"
    statements = [
        f"{begin} {trial} {bodies[name].removeprefix(f'CREATE VIEW {name} ')}"
        for name, trial in trials.items()
    ]
    with connection.begin_nested() as attempt:
        connection.exec_driver_sql(";".join(statements).replace("%", "%%"))
        expected = _definitions(
            connection, {name: f"pg_temp.{trial}" for name, trial in trials.items()}
        )
        attempt.rollback()
    if stored == expected:
        _UNCHANGED[version] = stored
    for name, definition in stored.items():
        if definition != expected[name]:
            yield f"view {name} (changed)"


def _definitions(connection: Connection, views: dict[str, str]) -> dict[str, str]:
    """Give the server's text of the views that exist, by the key of each name."""
    found = connection.exec_driver_sql(
        "SELECT key, pg_get_viewdef(to_regclass(name))"
        " FROM unnest(%s::text[], %s::text[]) AS wanted(key, name)",
        (list(views), list(views.values())),
    )
    return {str(key): str(text) for key, text in found if text is not None}
