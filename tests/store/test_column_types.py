"""FLOPs stay exact and moments keep their zone, whatever the database does with them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Column, MetaData, Table, insert, select
from sqlalchemy.exc import StatementError

from einsearch.store.column_types import Flops, UtcDateTime


@pytest.fixture
def round_trip(store):
    table = Table("es_round_trip", MetaData(), Column("flops", Flops), Column("moment", UtcDateTime))

    def put_and_get(**values):
        with store._write() as connection:
            table.create(connection, checkfirst=True)
            connection.execute(insert(table).values(**values))
            (row,) = connection.execute(select(table))
        return row

    return put_and_get


@pytest.mark.parametrize("flops", [None, 0, 1, 2**53 + 1, 2**63 - 1, 2**63, 10**20, 10**20 + 1, 10**38 - 1])
def test_flops_are_exact(round_trip, flops):
    back = round_trip(flops=flops).flops
    assert back == flops
    assert type(back) is type(flops)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (1e17, "cannot be interpreted as an integer"),
        ("5", "cannot be interpreted as an integer"),
        (-1, "FLOPs must lie in .*, not -1"),
        (10**38, "FLOPs must lie in"),
    ],
)
def test_what_is_no_count_of_flops(round_trip, wrong, message):
    with pytest.raises((StatementError, TypeError), match=message):
        round_trip(flops=wrong)


def test_moments_come_back_in_utc(round_trip):
    tokyo = timezone(timedelta(hours=9))
    moment = datetime(2025, 3, 1, 8, 30, 15, 123456, tzinfo=tokyo)
    back = round_trip(moment=moment).moment
    assert back == moment
    assert back.tzinfo is UTC
    assert back.hour == 23


def test_a_moment_without_zone_is_refused(round_trip):
    with pytest.raises(StatementError, match=r"has no time zone; use datetime.now"):
        round_trip(moment=datetime(2025, 3, 1))
