"""Who asked what of the store: a record for each query, search and report.

    command --unix socket--> running service --DAEMON_ACCEPT, DAEMON_CLOSE--> spool --> store
            `-- without it: SQLite, a file beside the store; PostgreSQL, a table for INSERT only

No reader writes to the store itself, and none waits for the service. The view `access` has a row
for each. docs/decisions/0024-access.md says what holds, and who could go without a record.
"""
