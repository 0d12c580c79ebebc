"""Asynchronous successive halving: which paused trial earns more training.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (arXiv 1810.05934). A rung is a
training compute in FLOPs; all trials at a rung spent the same, so their losses compare directly.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A trial as the halving sees it: `losses[r]` is its validation loss at rung r; NaN never appears."""

    trial_id: int
    losses: tuple[float, ...]
    paused: bool

    @property
    def rung(self) -> int:
        """The highest completed rung, -1 for none."""
        return len(self.losses) - 1


def promotable(standings: Sequence[Standing], top: int, reduction: int) -> Standing | None:
    """The trial to promote now: best of the highest rung that has one in its best 1/reduction.

    Of n trials that completed a rung the best n // reduction may go on, whatever is still running.
    """
    for rung in range(top - 1, -1, -1):
        finished = ranked(standings, rung)
        for standing in finished[: len(finished) // reduction]:
            if standing.paused and standing.rung == rung:
                return standing
    return None


def best_paused(standings: Sequence[Standing], top: int) -> list[Standing]:
    """All trials that could go on, most advanced and best first: for what is left of a budget."""
    waiting = [s for s in standings if s.paused and 0 <= s.rung < top]
    return sorted(waiting, key=lambda s: (-s.rung, s.losses[-1], s.trial_id))


def ranked(standings: Sequence[Standing], rung: int) -> list[Standing]:
    """The trials that completed a rung, best loss first."""
    return sorted((s for s in standings if s.rung >= rung), key=lambda s: (s.losses[rung], s.trial_id))


class Halving:
    """The same choices, kept up to date trial by trial: nothing is sorted again for a decision.

    Of each rung it holds, in order, (loss, trial) of those that completed it, and of those that wait there.
    """

    def __init__(self, top: int, reduction: int) -> None:
        self._reduction = reduction
        self._standings: dict[int, Standing] = {}
        self._finished: list[list[tuple[float, int]]] = [[] for _ in range(top + 1)]
        self._waiting: list[list[tuple[float, int]]] = [[] for _ in range(top)]

    def put(self, standing: Standing) -> None:
        """Add a trial, or replace what is known of it."""
        self.drop(standing.trial_id)
        self._standings[standing.trial_id] = standing
        for held, place in self._places(standing):
            insort(held, place)

    def drop(self, trial_id: int) -> None:
        """Forget a trial, if it is known: it failed."""
        standing = self._standings.pop(trial_id, None)
        if standing is not None:
            for held, place in self._places(standing):
                del held[bisect_left(held, place)]

    def _places(self, standing: Standing) -> Iterator[tuple[list[tuple[float, int]], tuple[float, int]]]:
        for held, loss in zip(self._finished, standing.losses, strict=False):
            yield held, (loss, standing.trial_id)
        if standing.paused and 0 <= standing.rung < len(self._waiting):
            yield self._waiting[standing.rung], (standing.losses[-1], standing.trial_id)

    def promotable(self) -> int | None:
        """The trial that :func:`promotable` finds."""
        for rung in range(len(self._waiting) - 1, -1, -1):
            if self._waiting[rung]:
                best, finished = self._waiting[rung][0], self._finished[rung]
                if bisect_left(finished, best) < len(finished) // self._reduction:
                    return best[1]
        return None

    def leftovers(self, rung: int) -> Iterator[int]:
        """The trials that wait at a rung, best first: a part of :func:`best_paused`."""
        return (trial_id for _, trial_id in self._waiting[rung])
