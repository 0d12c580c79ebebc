"""Alembic's entry: runs the scripts on the connection that `einsearch.store.migrate` passes.

The caller owns the transaction, so an upgrade that fails leaves nothing behind.
"""

from alembic import context

from einsearch.store.schema import VERSION_TABLE, is_ours, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_name=is_ours,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
