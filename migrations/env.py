"""Runs the revisions on the connection that `auditsvc.store.migrate` gives.

The caller owns the transaction: nothing is committed here.
"""

from __future__ import annotations

from alembic import context

from auditsvc.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
