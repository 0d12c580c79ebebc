"""Alembic's entry: runs the scripts on the connection that `einsearch.store.migrate` passes.

The caller owns the transaction, so an upgrade that fails leaves nothing behind.
"""

from collections.abc import Mapping
from typing import Any

from alembic import context

from einsearch.store.schema import PREFIX, VERSION_TABLE, metadata


def include_name(name: str | None, type_: str, parent_names: Mapping[Any, str | None]) -> bool:
    """Only our tables: the database may also hold Optuna's, which are none of our business."""
    return type_ != "table" or (name is not None and name.startswith(PREFIX))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_name=include_name,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
