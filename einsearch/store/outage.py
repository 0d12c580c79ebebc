"""A database server that goes away for a while: what is waited for, and what is done again.

The rule: a transaction whose connection is lost before its commit left nothing behind and is done again,
whole. One that is lost while it commits left a receipt if and only if it was committed
(`einsearch.store.receipts`), so it is either over or done again, and never done twice. Both wait up to
PATIENCE seconds for the server.

That holds for a store that has answered before. One that does not at the first attempt is more likely a
wrong URL, and one that was waited for in vain stays away: both are refused at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from einsearch.store.errors import StoreUnreachable

if TYPE_CHECKING:
    from einsearch.store.engine import Database

PATIENCE = 120.0
"""Seconds for which a server may be away: a restart of a minute, and as much again to spare."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_log = logging.getLogger(__name__)

_D = TypeVar("_D", bound="Database")
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Patience:
    """The wait of one call for a server that went away, in ever longer pauses. Its begin and end are logged."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._began: float | None = None
        self._pause = _FIRST_PAUSE

    def wait(self, error: StoreUnreachable) -> None:
        """Pause before the next attempt; raises the error where it is not worth one, or PATIENCE is over."""
        if not self._database.answered:
            raise error
        now = time.monotonic()
        if self._began is None:
            self._began = now
            _log.warning("%s; trying again for up to %.0f s", error, PATIENCE)
        elif now - self._began >= PATIENCE:
            self._database.answered = False
            raise StoreUnreachable(
                f"{error}; it stayed away for {PATIENCE:.0f} s: once it is back, the same command goes on"
            ) from error
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def over(self) -> None:
        """Say that the server is back, if it was away."""
        if self._began is not None:
            _log.warning("%s answers again after %.1f s", self._database.url, time.monotonic() - self._began)


def survives_outages(method: Callable[Concatenate[_D, _P], _T]) -> Callable[Concatenate[_D, _P], _T]:
    """Do a method of the store, one transaction of its own at most, again where its connection was lost."""

    @wraps(method)
    def patient(self: _D, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        patience = Patience(self)
        while True:
            try:
                result = method(self, *args, **kwargs)
            except StoreUnreachable as error:
                patience.wait(error)
            else:
                patience.over()
                return result

    return patient
