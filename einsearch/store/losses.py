"""Losses as the database may hold them."""

from math import isfinite


def finite(loss: float | None) -> float | None:
    """The loss, or None where it is NaN or infinite.

    SQLite would turn NaN into NULL by itself and PostgreSQL keep it: both shall answer the same.
    """
    return loss if loss is not None and isfinite(loss) else None
