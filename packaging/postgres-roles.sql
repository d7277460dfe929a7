-- Roles for one PostgreSQL database into which several hosts write. For psql, as a superuser:
--
--     createdb audit
--     psql -v host=alpha -f packaging/postgres-roles.sql audit
--
-- once for each host, and again, for any host, after the first start of `auditsvc run` on a new
-- host and after an upgrade of auditsvc. Each run makes:
--
--   auditsvc_HOST    the host's writer: may log in, and owns the schema of the same name, in which
--                    its `run` makes and keeps its store. It can neither read nor change the rows
--                    of another host. Give it a password (`\password auditsvc_HOST`), or let
--                    pg_hba.conf ask for a certificate.
--   auditsvc_reader  a group: may read the stores of all hosts, and write nothing.
--                    `GRANT auditsvc_reader TO somebody` adds a reader.
--   auditsvc         a schema with the views of all stores as one, for readers. They have one more
--                    column, `writer`: the schema that a row is from. An `event_id` is unique only
--                    together with it, so join by both: `JOIN paths USING (writer, event_id)`.
--
-- Readers set their search_path: `ALTER ROLE somebody IN DATABASE audit SET search_path = auditsvc`,
-- or `= auditsvc_HOST` for `auditsvc search` and `report`, which read the store of one host.

\set ON_ERROR_STOP on
\if :{?host}
\else
    \warn 'name the host: psql -v host=NAME'
    DO $$ BEGIN RAISE 'no host'; END $$;
\endif
\set writer 'auditsvc_' :host

BEGIN;
SET LOCAL client_min_messages = warning;
DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtext('auditsvc roles')); END $$;

SELECT format('CREATE ROLE %I LOGIN', :'writer')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'writer') \gexec
SELECT 'CREATE ROLE auditsvc_reader NOLOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'auditsvc_reader') \gexec

-- Nobody but these gets anything by being connected. A writer's checks need temporary tables.
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"DBNAME" TO :"writer";
GRANT CONNECT ON DATABASE :"DBNAME" TO auditsvc_reader;

CREATE SCHEMA IF NOT EXISTS :"writer" AUTHORIZATION :"writer";
ALTER ROLE :"writer" IN DATABASE :"DBNAME" SET search_path = :"writer";
GRANT USAGE ON SCHEMA :"writer" TO auditsvc_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE :"writer" IN SCHEMA :"writer"
    GRANT SELECT ON TABLES TO auditsvc_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA :"writer" TO auditsvc_reader;

CREATE SCHEMA IF NOT EXISTS auditsvc;
GRANT USAGE ON SCHEMA auditsvc TO auditsvc_reader;

-- The views of all stores as one. A store that was made by an older auditsvc has NULL in the
-- columns that it lacks. They are owned by a role that may only read, as a view's owner is whose
-- rights count.
DO $$
DECLARE
    shown record;
BEGIN
    FOR shown IN
        SELECT format('DROP VIEW %s', c.oid::regclass) AS statement
        FROM pg_class c WHERE c.relnamespace = 'auditsvc'::regnamespace AND c.relkind = 'v'
    LOOP
        EXECUTE shown.statement;
    END LOOP;
    FOR shown IN
        WITH store AS (
            SELECT n.oid, n.nspname
            FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
            WHERE n.nspname = r.rolname AND n.nspname LIKE 'auditsvc\_%'
                AND to_regclass(format('%I.store_info', n.nspname)) IS NOT NULL
        ), view AS (
            SELECT s.nspname, c.relname, c.oid
            FROM store s JOIN pg_class c ON c.relnamespace = s.oid AND c.relkind = 'v'
        ), its AS (
            SELECT v.nspname, v.relname, a.attname, a.attnum,
                format_type(a.atttypid, a.atttypmod) AS type
            FROM view v JOIN pg_attribute a ON a.attrelid = v.oid AND a.attnum > 0
        ), wanted AS (
            SELECT relname, attname, min(type) AS type, max(attnum) AS place
            FROM its GROUP BY relname, attname
        ), part AS (
            SELECT v.relname, v.nspname, format('SELECT %L::text AS writer, ', v.nspname)
                || string_agg(
                    CASE WHEN i.attname IS NULL THEN format('NULL::%s AS %I', w.type, w.attname)
                    ELSE quote_ident(w.attname) END,
                    ', ' ORDER BY w.place, w.attname)
                || format(' FROM %I.%I', v.nspname, v.relname) AS body
            FROM view v
            JOIN wanted w ON w.relname = v.relname
            LEFT JOIN its i ON i.nspname = v.nspname AND i.relname = v.relname
                AND i.attname = w.attname
            GROUP BY v.relname, v.nspname
        )
        SELECT relname, string_agg(body, ' UNION ALL ' ORDER BY nspname) AS body
        FROM part GROUP BY relname
    LOOP
        EXECUTE format('CREATE VIEW auditsvc.%I AS %s', shown.relname, shown.body);
        EXECUTE format('ALTER VIEW auditsvc.%I OWNER TO auditsvc_reader', shown.relname);
    END LOOP;
    -- `auditsvc query` knows a store by it.
    CREATE VIEW auditsvc.store_info AS SELECT NULL::text AS name, NULL::text AS value WHERE false;
    ALTER VIEW auditsvc.store_info OWNER TO auditsvc_reader;
END $$;
COMMIT;
