"""The dense frontier and the compute multiplier: the objective that search and report share.

The multiplier of a run is the FLOPs that dense needs for the same validation loss, divided by the
run's FLOPs. What dense needs is read off the monotone lower envelope of all dense runs, piecewise
linear in log FLOPs against log loss. Outside the envelope's losses the multiplier is only a bound.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Bound(Enum):
    """What a multiplier says: its value, or that the true one is at least, or at most, that."""

    EXACT = ""
    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True)
class Multiplier:
    """Compute saved against dense: 2.0 means that dense needs twice the FLOPs for the same loss."""

    value: float
    bound: Bound

    def __str__(self) -> str:
        return f"{self.bound.value}{self.value:.2f}"


@dataclass(frozen=True, slots=True)
class Frontier:
    """The lower envelope of dense runs: ascending training FLOPs, strictly descending losses (nats)."""

    flops: tuple[int, ...]
    losses: tuple[float, ...]

    @classmethod
    def of(cls, points: Iterable[tuple[int, float]]) -> Frontier:
        """The envelope of (FLOPs, validation loss) of dense runs, of any widths.

        >>> Frontier.of([(10, 3.0), (20, 3.1), (40, 2.0), (40, 2.5)]).flops
        (10, 40)
        """
        flops: list[int] = []
        losses: list[float] = []
        for point_flops, loss in sorted(points):
            if flops and point_flops == flops[-1]:
                continue  # sorted: the lower loss of equal FLOPs came first
            if not losses or loss < losses[-1]:
                flops.append(point_flops)
                losses.append(loss)
        return cls(tuple(flops), tuple(losses))

    @property
    def empty(self) -> bool:
        return not self.flops

    def flops_for(self, loss: float) -> tuple[float, Bound]:
        """FLOPs that dense needs for a loss, and whether that is exact.

        A loss below the envelope gives its last FLOPs, AT_LEAST; one above it its first, AT_MOST.
        Raises ValueError on an empty frontier.
        """
        if self.empty:
            raise ValueError("the frontier has no dense run yet")
        if loss < self.losses[-1]:
            return self.flops[-1], Bound.AT_LEAST
        if loss > self.losses[0]:
            return self.flops[0], Bound.AT_MOST
        # bisect wants an ascending sequence: search the negated losses.
        right = bisect_left(self.losses, -loss, key=lambda value: -value)
        if self.losses[right] == loss or right == 0:
            return self.flops[right], Bound.EXACT
        left = right - 1
        share = math.log(self.losses[left] / loss) / math.log(self.losses[left] / self.losses[right])
        return self.flops[left] * (self.flops[right] / self.flops[left]) ** share, Bound.EXACT

    def multiplier(self, flops: int, loss: float) -> Multiplier:
        """The compute multiplier of a run that reached `loss` with `flops` training FLOPs."""
        needed, bound = self.flops_for(loss)
        return Multiplier(needed / flops, bound)
