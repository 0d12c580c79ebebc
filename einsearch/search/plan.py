"""How a budget is spent: the dense ladder, the rungs, the widths of candidates."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from einsearch.errors import EinsearchError
from einsearch.proxy.flops import flops_per_step
from einsearch.search.config import StudyConfig, write_flops
from einsearch.space.candidate import Candidate
from einsearch.space.draws import require_valid
from einsearch.space.search_space import SearchSpace
from einsearch.space.space_file import load_space

BUDGET_IN_TOP_RUNGS = 16
"""Top rungs in a budget: the dense ladder takes four or five of them, the rest is search."""

RUNGS = 3

OPTIMAL_WIDTH, OPTIMAL_AT, OPTIMAL_POWER = 32, 2.5e11, 0.3
"""Compute-optimal dense width at depth 2 near OPTIMAL_AT FLOPs, and how it grows (measured: studies/README.md)."""

LEAST_STEPS = 8
"""Steps below which a rung says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderRun:
    """A dense model of the ladder and the training FLOPs it is given."""

    width: int
    flops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a study will do with its budget.

    rungs: training FLOPs at which trials are compared, ascending; the last is the top rung.
    segment: FLOPs of a piece of work between two checkpoints, at most.
    """

    budget: int
    rungs: tuple[int, ...]
    reduction: int
    ladder: tuple[LadderRun, ...]
    space: SearchSpace
    segment: int

    def to_json(self) -> dict[str, Any]:
        """Everything but the budget, which may be raised later: the rest of a study's plan is final."""
        return {
            "rungs": list(self.rungs),
            "reduction": self.reduction,
            "ladder": [asdict(run) for run in self.ladder],
            "space": self.space.to_json(),
            "segment": self.segment,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], budget: int) -> Plan:
        return cls(
            budget=budget,
            rungs=tuple(data["rungs"]),
            reduction=data["reduction"],
            ladder=tuple(LadderRun(**run) for run in data["ladder"]),
            space=SearchSpace.from_json(data["space"]),
            segment=data["segment"],
        )

    @property
    def top(self) -> int:
        return self.rungs[-1]

    @property
    def ladder_flops(self) -> int:
        return sum(run.flops for run in self.ladder)

    @property
    def flops_per_candidate(self) -> float:
        """Expected FLOPs for one candidate, promotions of the best included."""
        total, below, share = 0.0, 0, 1.0
        for rung in self.rungs:
            total += share * (rung - below)
            below, share = rung, share / self.reduction
        return total

    @property
    def expected_candidates(self) -> int:
        """How many candidates the budget is expected to try; at most what a list holds."""
        fits = int((self.budget - self.ladder_flops) / self.flops_per_candidate)
        count = self.space.count()
        return fits if count is None else min(fits, count)

    def evaluations(self, step_flops: int, per_octave: int, *, dense: bool = False) -> tuple[int, ...]:
        """Steps after which a trial is evaluated: at every rung and log-spaced in FLOPs between.

        A candidate's reach down to half the first rung. Those of a dense run go on to an eighth of it, so
        that the frontier covers the losses of poor candidates, and of other studies that reuse the run.
        """
        marks = set(self.rungs) | {run.flops for run in self.ladder}
        factor = 2 ** (1 / per_octave)
        value = float(max(marks))
        while value >= self.rungs[0] / (8 if dense else 2):
            marks.add(round(value))
            value /= factor
        return tuple(sorted({mark // step_flops for mark in marks} - {0}))


def make_plan(config: StudyConfig) -> Plan:
    """Plan a study. Raises EinsearchError where the budget is too small, naming the least that works.

    Also where the configuration gives rungs or ladder runs of less than LEAST_STEPS steps, or nothing in the
    search space is valid.
    """
    space = load_space(config.space)
    rungs = config.rungs or _rungs(config.budget, config.reduction)
    plan = _plan(config, space, rungs)
    require_valid(plan.space)
    if config.rungs:
        _check_rungs(config, plan)
    for run in plan.ladder if config.ladder else ():
        _check_ladder_run(config, plan, run)
    if not _affordable(config, plan):
        least = config.budget
        while not _affordable(config, _plan(config, space, config.rungs or _rungs(least, config.reduction), least)):
            least = least * 11 // 10 + 1
        raise EinsearchError(
            f"budget {write_flops(config.budget)} FLOPs is too small for one rung after the dense ladder; "
            f"give at least {write_flops(_round_up(least))}"
        )
    return plan


def _plan(config: StudyConfig, space: SearchSpace, rungs: tuple[int, ...], budget: int | None = None) -> Plan:
    ladder = tuple(LadderRun(width=w, flops=f) for w, f in config.ladder) or _ladder(rungs[-1], space)
    if not space.widths:
        space = space.with_widths(_candidate_widths(rungs[-1], space.head_size))
    for run in ladder:
        space.shape(run.width)
    return Plan(
        budget=config.budget if budget is None else budget,
        rungs=rungs,
        reduction=config.reduction,
        ladder=ladder,
        space=space,
        segment=max(rungs[0], rungs[-1] // 3),
    )


def _rungs(budget: int, reduction: int) -> tuple[int, ...]:
    top = budget // BUDGET_IN_TOP_RUNGS
    eta = max(reduction, 2)
    return tuple(sorted({max(top // eta**n, 1) for n in range(RUNGS)}))


def optimal_width(flops: float) -> float:
    """The compute-optimal width of a dense model of depth 2, by the power law above."""
    return OPTIMAL_WIDTH * (flops / OPTIMAL_AT) ** OPTIMAL_POWER


def _multiples(width: float, head_size: int) -> int:
    return max(1, round(width / head_size)) * head_size


def _ladder(top: int, space: SearchSpace) -> tuple[LadderRun, ...]:
    """Dense widths around the optimum at the top rung, so that the best one lies inside.

    It and the smaller one go on to twice the top rung: a multiplier up to 2 is read off, not bounded, and
    where the best width changes the frontier has no flat piece that would flatter candidates.
    """
    runs: dict[int, int] = {}
    for factor, flops in ((0.5, 2 * top), (1.0, 2 * top), (1.5, top)):
        width = _multiples(optimal_width(top) * factor, space.head_size)
        runs[width] = max(flops, runs.get(width, 0))
    return tuple(LadderRun(width=width, flops=flops) for width, flops in sorted(runs.items()))


def _candidate_widths(top: int, head_size: int) -> tuple[int, ...]:
    optimal = optimal_width(top)
    return tuple(sorted({_multiples(optimal * factor, head_size) for factor in (1.0, 1.5)}))


def _affordable(config: StudyConfig, plan: Plan) -> bool:
    return plan.rungs[0] >= LEAST_STEPS * _dearest_step(config, plan) and (
        plan.budget >= plan.ladder_flops + plan.rungs[0]
    )


def _dearest_step(config: StudyConfig, plan: Plan) -> int:
    protocol = config.protocol
    dearest = (flops_per_step(plan.space.dearest(w), protocol.context, protocol.batch) for w in plan.space.widths)
    return max(*dearest, *(_dense_step(config, plan, run.width) for run in plan.ladder))


def _dense_step(config: StudyConfig, plan: Plan, width: int) -> int:
    dense = Candidate.dense(plan.space.shape(width))
    return flops_per_step(dense, config.protocol.context, config.protocol.batch)


def _check_rungs(config: StudyConfig, plan: Plan) -> None:
    least = LEAST_STEPS * _dearest_step(config, plan)
    for below, rung in pairwise((0, *plan.rungs)):
        if rung - below < least:
            place = f"rung {write_flops(rung)} FLOPs" + (f" is too near to {write_flops(below)}" if below else "")
            raise EinsearchError(
                f"{place}: less than {LEAST_STEPS} steps of the dearest model; give at least "
                f"{write_flops(_round_up(below + least))}"
            )


def _check_ladder_run(config: StudyConfig, plan: Plan, run: LadderRun) -> None:
    least = LEAST_STEPS * _dense_step(config, plan, run.width)
    if run.flops < least:
        raise EinsearchError(
            f"ladder run of width {run.width} has {write_flops(run.flops)} FLOPs, less than {LEAST_STEPS} steps; "
            f"give at least {write_flops(_round_up(least))}"
        )


def _round_up(flops: int) -> int:
    magnitude = 10 ** (len(str(flops)) - 2)
    return -(-flops // magnitude) * magnitude
