"""Where a driver's wall-clock time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

PARTS = ("decisions", "suggestions", "books", "mirror", "display", "waiting")
"""Choosing the next trial; asking for a new candidate; transactions; Optuna's tables; the screen; for workers."""


class DriverTimes:
    """Seconds by part of the driver's work. A part within another one is counted once, as its own.

    suggestions: seconds of each proposal of a new candidate, in their order.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.suggestions: list[float] = []
        self._inner: list[float] = []

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count the block as `part`, one of PARTS."""
        self._inner.append(0.0)
        began = time.perf_counter()
        try:
            yield
        finally:
            whole = time.perf_counter() - began
            own = whole - self._inner.pop()
            self.seconds[part] += own
            if self._inner:
                self._inner[-1] += whole
            if part == "suggestions":
                self.suggestions.append(own)
