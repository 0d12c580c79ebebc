"""Receipts of committed transactions, for the one whose connection is lost while it commits.

Every writing transaction inserts a token of its own, so the token is there if and only if all the rest is.
Who has to know inserts the same token as void: where the transaction is still on its way that waits for
its end, and from then on it can no longer commit. Only a server can lose a connection: SQLite needs none.
"""

import threading
from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, bindparam, delete, insert, select
from sqlalchemy.dialects import postgresql

from einsearch.store.column_types import utc_now
from einsearch.store.schema import es_receipt

# Much longer than any commit may hang; a writer removes its own former receipt long before.
_KEPT = timedelta(days=1)

_columns = es_receipt.c
_VALUES: dict[str, Any] = {"token": bindparam("new"), "valid": bindparam("is_valid"), "left_at": bindparam("moment")}
_LEAVE = (
    insert(es_receipt)
    .values(_VALUES)
    .add_cte(delete(es_receipt).where(_columns.token == bindparam("former")).cte("former_receipt"))
)
_FORGET = delete(es_receipt).where(_columns.left_at < bindparam("before"))
_VOID = postgresql.insert(es_receipt).values(_VALUES).on_conflict_do_nothing()
_IS_VALID = select(_columns.valid).where(_columns.token == bindparam("wanted"))


class Receipts(threading.local):
    """What the transactions of one thread leave in a database: at most one receipt, the last."""

    def __init__(self) -> None:
        self._former: str | None = None

    def leave(self, connection: Connection) -> str:
        """Leave the receipt of this transaction, which takes the place of the thread's former one."""
        token, now = uuid4().hex, utc_now()
        if self._former is None:
            connection.execute(_FORGET, {"before": now - _KEPT})
        connection.execute(_LEAVE, {"new": token, "is_valid": True, "moment": now, "former": self._former})
        return token

    def committed(self, token: str) -> None:
        """Remember that the transaction with this receipt was committed."""
        self._former = token


def was_committed(connection: Connection, token: str) -> bool:
    """Whether the transaction with this receipt was committed; if not, it never will be."""
    connection.execute(_VOID, {"new": token, "is_valid": False, "moment": utc_now()})
    # A second statement: it sees what the first one waited for.
    return bool(connection.execute(_IS_VALID, {"wanted": token}).scalar_one())
