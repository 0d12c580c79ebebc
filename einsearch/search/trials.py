"""What a trial's curve says to the study: its losses at the rungs, what the sampler should learn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from einsearch.frontier import Frontier
from einsearch.search.suggest import Observation, Suggestion
from einsearch.store import Curve


def rung_losses(curve: Curve, rungs: Sequence[int]) -> tuple[float, ...]:
    """Validation losses at the rungs that the trial completed."""
    by_step = {point.step: point.validation_loss for point in curve.points}
    found = []
    for rung in rungs[: curve.trial.rung + 1]:
        loss = by_step[rung // curve.trial.flops_per_step]
        if loss is None:
            raise ValueError(f"trial {curve.trial.id} completed a rung without a loss")
        found.append(loss)
    return tuple(found)


def observations(curves: Iterable[Curve], rungs: Sequence[int], frontier: Frontier) -> list[Observation]:
    """What the sampler may learn: log2 of the compute multiplier at every rung of every search trial.

    Before the first dense run there is no frontier and so no score.
    """
    found = []
    for curve in curves:
        trial = curve.trial
        if trial.kind != "search" or trial.suggestion is None:
            continue
        scores: tuple[float, ...] = ()
        if not frontier.empty:
            scores = tuple(
                math.log2(frontier.multiplier(rung // trial.flops_per_step * trial.flops_per_step, loss).value)
                for rung, loss in zip(rungs, rung_losses(curve, rungs), strict=False)
            )
        found.append(
            Observation(
                key=trial.key,
                suggestion=Suggestion.from_json(trial.suggestion),
                scores=scores,
                done=trial.state == "complete",
                failed=trial.state == "failed",
            )
        )
    return found
