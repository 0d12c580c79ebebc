"""The dense frontier and the compute multiplier: the objective that search and report share.

The multiplier of a run is the FLOPs that dense needs for the same validation loss, divided by the
run's FLOPs. What dense needs is read off the monotone lower envelope of all dense runs, piecewise
linear in log FLOPs against log loss. Outside the envelope's losses the multiplier is only a bound.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from einsearch.store import Curve


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
    """The lower envelope of dense runs: ascending training FLOPs, strictly descending losses (nats).

    complete_from: FLOPs from which on every run was evaluated.
    """

    flops: tuple[int, ...]
    losses: tuple[float, ...]
    complete_from: int = 0

    @classmethod
    def of(cls, runs: Iterable[Sequence[tuple[int, float]]]) -> Frontier:
        """The envelope of dense runs, each a sequence of (FLOPs, validation loss).

        Runs are curves, straight between their points in the logarithms: of two runs that were evaluated
        at slightly different FLOPs the better one counts at both, so the envelope has no steps there. It
        is complete where all runs were evaluated: before, a better one may be missing.

        >>> Frontier.of([[(10, 3.0), (40, 2.0)], [(20, 3.1), (39, 2.9)]]).flops
        (10, 20, 39, 40)
        """
        curves = [sorted(dict(run).items()) for run in runs if run]
        grid = sorted({flops for curve in curves for flops, _ in curve})
        flops: list[int] = []
        losses: list[float] = []
        for at in grid:
            lowest = min(_loss_at(curve, at) for curve in curves if curve[0][0] <= at <= curve[-1][0])
            if not losses or lowest < losses[-1]:
                flops.append(at)
                losses.append(lowest)
        return cls(tuple(flops), tuple(losses), max((curve[0][0] for curve in curves), default=0))

    @property
    def empty(self) -> bool:
        return not self.flops

    def flops_for(self, loss: float) -> tuple[float, Bound]:
        """FLOPs that dense needs for a loss, and whether that is exact.

        A loss below the envelope gives its last FLOPs, AT_LEAST; one above it its first, AT_MOST, and so
        does one that the envelope reached before it was complete.
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
        needed = float(self.flops[right])
        if self.losses[right] != loss:
            left = right - 1
            share = math.log(self.losses[left] / loss) / math.log(self.losses[left] / self.losses[right])
            needed = self.flops[left] * (self.flops[right] / self.flops[left]) ** share
        return needed, Bound.AT_MOST if needed < self.complete_from else Bound.EXACT

    def multiplier(self, flops: int, loss: float) -> Multiplier:
        """The compute multiplier of a run that reached `loss` with `flops` training FLOPs."""
        needed, bound = self.flops_for(loss)
        return Multiplier(needed / flops, bound)


def dense_frontier(curves: Iterable[Curve]) -> Frontier:
    """The lower envelope of the dense ladder among a study's trials."""
    return Frontier.of(curve.losses for curve in curves if curve.trial.kind == "ladder")


def _loss_at(curve: Sequence[tuple[int, float]], flops: int) -> float:
    """The loss of a run at FLOPs within its range, log-log linear between its points."""
    right = bisect_left(curve, flops, key=lambda point: point[0])
    if curve[right][0] == flops:
        return curve[right][1]
    (flops_left, loss_left), (flops_right, loss_right) = curve[right - 1], curve[right]
    share = math.log(flops / flops_left) / math.log(flops_right / flops_left)
    return loss_left * (loss_right / loss_left) ** share
