"""The mirror as a study needs it: it may lag, and never stops the study."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from einsearch.errors import EinsearchError
from einsearch.frontier import Frontier
from einsearch.search.optuna_storage import TROUBLE, line_of
from einsearch.store import Curve

_log = logging.getLogger(__name__)


class ClosableMirror(Protocol):
    def sync(self, curves: list[Curve], frontier: Frontier, final: bool) -> None: ...

    def close(self) -> None: ...


class PatientMirror:
    """Makes a mirror when it is first needed, and anew after trouble with the database, which is logged once.

    A new mirror begins by reading what the database has, so nothing depends on what became of the last call.
    """

    def __init__(self, url: str, make: Callable[[], ClosableMirror]) -> None:
        self._url, self._make = url, make
        self._mirror: ClosableMirror | None = None
        self._lags = False

    def sync(self, curves: list[Curve], frontier: Frontier, final: bool) -> None:
        """Show `curves`, or leave it to the next call."""
        try:
            self._mirror = self._mirror or self._make()
            self._mirror.sync(curves, frontier, final)
        except (*TROUBLE, EinsearchError) as error:
            self.close()
            if not self._lags:
                line = str(error) if isinstance(error, EinsearchError) else line_of(self._url, error)
                _log.warning("the Optuna mirror lags: %s", line)
            self._lags = True
        else:
            self._lags = False

    def close(self) -> None:
        """Close the mirror's connections."""
        if self._mirror is not None:
            self._mirror.close()
            self._mirror = None
