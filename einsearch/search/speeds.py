"""How fast the workers are: machines of one cluster may differ by orders of magnitude."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median

_LATEST = 8
"""Segments of a slot that count."""

_ALIKE = 4.0
"""Differences up to this factor are those between structures, or noise."""

_MOST = 16.0


class Speeds:
    """Training FLOP/s of the slots, from the segments that they trained last."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[float]] = {}

    def note(self, slot: str, flops: float, seconds: float) -> None:
        """A slot did so many FLOPs in so many seconds of training."""
        if flops > 0 and seconds > 0:
            self._seen.setdefault(slot, deque(maxlen=_LATEST)).append(flops / seconds)

    def forget(self, slot: str) -> None:
        """The worker of a slot is gone; another machine may take its place."""
        self._seen.pop(slot, None)

    def share(self, slot: str) -> float:
        """How long a segment should be for this slot: 1 as for most, less for a much slower one; 1/16 to 16."""
        if slot not in self._seen:
            return 1.0
        ratio = median(self._seen[slot]) / median(median(each) for each in self._seen.values())
        return 1.0 if 1 / _ALIKE <= ratio <= _ALIKE else min(max(ratio, 1 / _MOST), _MOST)

    def fastest_first(self, slots: Iterable[str]) -> list[str]:
        """Slots that are much faster before others, which keep their order."""
        return sorted(slots, key=lambda slot: -self.share(slot))
