"""Asynchronous successive halving: which paused trial earns more training.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (arXiv 1810.05934). A rung is a
training compute in FLOPs; all trials at a rung spent the same, so their losses compare directly.
"""

from __future__ import annotations

from collections.abc import Sequence
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
