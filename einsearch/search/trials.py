"""What a trial's curve says to the study: its losses at the rungs, what the sampler should learn."""

from __future__ import annotations

import math
from collections.abc import Sequence

from einsearch.frontier import Frontier
from einsearch.search.history import Observation, Suggestion
from einsearch.search.rungs import Standing
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


def observation(curve: Curve, rungs: Sequence[int], frontier: Frontier) -> Observation | None:
    """What the sampler may learn of a search trial: log2 of the compute multiplier at every rung.

    None for other trials. Before the first dense run there is no frontier and so no score.
    """
    trial = curve.trial
    if trial.kind != "search" or trial.suggestion is None:
        return None
    scores: tuple[float, ...] = ()
    if not frontier.empty:
        scores = tuple(
            math.log2(frontier.multiplier(rung // trial.flops_per_step * trial.flops_per_step, loss).value)
            for rung, loss in zip(rungs, rung_losses(curve, rungs), strict=False)
        )
    return Observation(
        key=trial.key,
        suggestion=Suggestion.from_json(trial.suggestion),
        scores=scores,
        done=trial.state == "complete",
        failed=trial.state == "failed",
    )


def standing(curve: Curve, rungs: Sequence[int]) -> Standing | None:
    """How the halving sees a search trial; None for other trials, and for one that failed."""
    trial = curve.trial
    if trial.kind != "search" or trial.state == "failed":
        return None
    return Standing(trial_id=trial.id, losses=rung_losses(curve, rungs), paused=trial.state == "paused")
