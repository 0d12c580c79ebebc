"""Column types that mean the same on SQLite and PostgreSQL."""

from datetime import UTC, datetime
from decimal import Decimal
from operator import index

from sqlalchemy import DateTime, Dialect, Numeric, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

FLOPS_DIGITS = 38


class Flops(TypeDecorator[int]):
    """An exact count of FLOPs, from 0 to 10^38 - 1.

    A budget of 1e20 does not fit SQLite's 64-bit integers and a float would round it, so SQLite holds
    decimal text. Text neither adds nor compares as a number: sums and comparisons are done in Python.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Decimal] | TypeEngine[str]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(Numeric(FLOPS_DIGITS, 0))
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Decimal | str | None:
        if value is None:
            return None
        exact = index(value)  # a float raises TypeError here instead of losing digits
        if not 0 <= exact < 10**FLOPS_DIGITS:
            raise ValueError(f"FLOPs must lie in [0, 1e{FLOPS_DIGITS}), not {exact}")
        return Decimal(exact) if dialect.name == "postgresql" else str(exact)

    def process_result_value(self, value: Decimal | str | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite, which keeps no time zone, holds it as naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; use datetime.now(UTC)")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def utc_now() -> datetime:
    """This moment, with its time zone."""
    return datetime.now(UTC)
