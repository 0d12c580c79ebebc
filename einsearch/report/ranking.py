"""Trials as tables: who leads, what dense reaches with the same compute, one record a trial."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, geometric_mean
from typing import Any

from einsearch.frontier import Bound, Frontier, Multiplier, dense_frontier
from einsearch.report.rungs import RESTING, rung_flops
from einsearch.report.study_data import StudyData
from einsearch.store import Curve


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """A candidate at its highest completed rung; means over its seeds (`seeds` of them) at that rung.

    omega, psi, nu are those of the attention layers where the sites differ. flops: training FLOPs.
    loss: validation loss in nats a token. multiplier: None where no dense run was evaluated.
    """

    rank: int
    key: str
    label: str
    theta: str
    omega: float
    psi: float
    nu: float
    width: int
    parameters: int
    rung: int
    flops: int
    loss: float
    multiplier: Multiplier | None
    tokens_per_second: float | None
    seeds: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseReference:
    """What dense reaches with `flops` training FLOPs, read off the frontier.

    loss: validation loss in nats a token; None outside the frontier. width, parameters and
    tokens_per_second are those of the dense run with the lowest loss there or, outside, where it is nearest.
    """

    flops: int
    loss: float | None
    width: int
    parameters: int
    tokens_per_second: float | None


@dataclass(frozen=True, slots=True)
class _AtRung:
    """A trial at its highest completed rung."""

    curve: Curve
    flops: int
    loss: float


def rank(curves: Sequence[Curve], *, limit: int | None = None, frontier: Frontier | None = None) -> list[Leader]:
    """The candidates that completed a rung, best first: by rung, then loss (a rung's trials spent the same).

    Dense ladder runs and failed trials are left out. The frontier is that of the ladder among `curves`
    unless given.
    """
    if frontier is None:
        frontier = dense_frontier(curves)
    groups: dict[str, list[_AtRung]] = defaultdict(list)
    reached = rung_flops(curves)
    for curve in curves:
        if found := _at_rung(curve, reached):
            groups[curve.trial.key].append(found)
    unranked = [_leader(group, frontier) for group in groups.values()]
    unranked.sort(key=lambda leader: (-leader["rung"], leader["loss"]))
    return [Leader(rank=place, **leader) for place, leader in enumerate(unranked[:limit], start=1)]


def dense_reference(curves: Iterable[Curve], frontier: Frontier, flops: int) -> DenseReference | None:
    """Dense at the same training FLOPs; None where no dense run was evaluated."""
    ladder = [curve for curve in curves if curve.trial.kind == "ladder" and curve.losses]
    if frontier.empty or not ladder:
        return None
    nearest = min(max(flops, frontier.flops[0]), frontier.flops[-1])
    found = [(_loss_at(Frontier.of([curve.losses]), nearest), curve) for curve in ladder]
    reached = [(loss, curve) for loss, curve in found if loss is not None]
    _, lowest = min(reached, key=lambda at: at[0], default=found[-1])
    return DenseReference(
        flops=flops,
        loss=_loss_at(frontier, flops),
        width=lowest.trial.facts["width"],
        parameters=lowest.trial.parameters,
        tokens_per_second=lowest.tokens_per_second,
    )


def trial_records(data: StudyData) -> list[dict[str, Any]]:
    """One flat record a trial, of JSON values, in the order of their numbers.

    loss and multiplier are those of the last evaluated point; multiplier_bound is exact, at_least or
    at_most. flops: training FLOPs done. reused_from: id of the trial of another study that did the work.
    """
    return [_record(curve, data.frontier) for curve in data.curves]


def _at_rung(curve: Curve, reached: Mapping[int, int]) -> _AtRung | None:
    trial = curve.trial
    if trial.kind == "ladder" or trial.rung < 0 or trial.state == "failed":
        return None
    evaluated = curve.losses
    if not evaluated:
        return None
    if trial.state in RESTING or trial.rung not in reached:
        flops, loss = evaluated[-1]
    else:
        # On its way to the next rung: points beyond the completed one must not count for that one.
        rung = reached[trial.rung]
        flops, loss = min(evaluated, key=lambda at: abs(math.log(at[0] / rung)))
    return _AtRung(curve, flops, loss)


def _leader(group: list[_AtRung], frontier: Frontier) -> dict[str, Any]:
    """The fields of a Leader but its rank, from the trials of one key."""
    top = max(at.curve.trial.rung for at in group)
    seeds = [at for at in group if at.curve.trial.rung == top]
    trial = seeds[0].curve.trial
    tokens, seconds = sum(at.curve.tokens for at in seeds), sum(at.curve.seconds for at in seeds)
    return {
        "key": trial.key,
        "label": trial.label,
        "theta": trial.facts["theta"],
        **trial.facts["taxonomy"],
        "width": trial.facts["width"],
        "parameters": trial.parameters,
        "rung": top,
        "flops": max(at.flops for at in seeds),
        "loss": fmean(at.loss for at in seeds),
        "multiplier": None if frontier.empty else _mean_multiplier(seeds, frontier),
        "tokens_per_second": tokens / seconds if seconds > 0 else None,
        "seeds": len(seeds),
        "state": next((at.curve.trial.state for at in seeds if at.curve.trial.state != "complete"), "complete"),
    }


def _mean_multiplier(seeds: Sequence[_AtRung], frontier: Frontier) -> Multiplier:
    """The geometric mean over seeds; a bound as soon as one of them is."""
    each = [frontier.multiplier(at.flops, at.loss) for at in seeds]
    bounds = {multiplier.bound for multiplier in each} - {Bound.EXACT}
    if len(bounds) == 2:  # a mean of lower and upper bounds bounds nothing
        return frontier.multiplier(max(at.flops for at in seeds), fmean(at.loss for at in seeds))
    return Multiplier(geometric_mean(m.value for m in each), bounds.pop() if bounds else Bound.EXACT)


def _loss_at(frontier: Frontier, flops: int) -> float | None:
    """The frontier's loss at given FLOPs, linear in log against log; None outside."""
    points = list(zip(frontier.flops, frontier.losses, strict=True))
    for (f0, loss0), (f1, loss1) in pairwise(points):
        if f0 <= flops <= f1:
            return loss0 * (loss1 / loss0) ** (math.log(flops / f0) / math.log(f1 / f0))
    return points[0][1] if points and points[0][0] == flops else None


def _record(curve: Curve, frontier: Frontier) -> dict[str, Any]:
    trial, evaluated = curve.trial, curve.losses
    multiplier = frontier.multiplier(*evaluated[-1]) if evaluated and not frontier.empty else None
    attention = trial.facts.get("attention_taxonomy", trial.facts["taxonomy"])
    ffn = trial.facts.get("ffn_taxonomy", attention)
    return {
        "number": trial.number,
        "key": trial.key,
        "kind": trial.kind,
        "state": trial.state,
        "reason": trial.reason,
        "label": trial.label,
        "theta": trial.facts["theta"],
        **{f"attention_{name}": attention[name] for name in ("omega", "psi", "nu")},
        **{f"ffn_{name}": ffn[name] for name in ("omega", "psi", "nu")},
        "width": trial.facts["width"],
        "depth": trial.facts["depth"],
        "parameters": trial.parameters,
        "flops": trial.flops_done,
        "step": trial.step,
        "rung": trial.rung,
        "loss": evaluated[-1][1] if evaluated else None,
        "multiplier": multiplier.value if multiplier else None,
        "multiplier_bound": multiplier.bound.name.lower() if multiplier else None,
        "tokens_per_second": curve.tokens_per_second,
        "seed": trial.seed,
        "reused_from": trial.reused_from,
    }
