"""What the study of mixtures trains: kinds of model, widths, learning rates and seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from einsearch.proxy.flops import flops_per_step
from einsearch.proxy.protocol import Protocol
from einsearch.space.candidate import Candidate
from einsearch.space.mixture import Mixture
from einsearch.space.model_shape import ModelShape
from einsearch.space.parse import parse

HEAD_SIZE = 8
"""Widths are its multiples: the steps in which FLOPs can be matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of model, at any width. title: for people."""

    title: str
    layer: str
    mixture: Mixture | None = None

    def candidate(self, width: int) -> Candidate:
        return Candidate.of(parse(self.layer), ModelShape(width=width, head_size=HEAD_SIZE), self.mixture)


KINDS = {
    "dense": Kind(title="dense", layer="dense"),
    "standard-moe": Kind(title="standard MoE", layer="dense", mixture=Mixture(experts=8, active=2, per="ffn")),
    "btt": Kind(title="BTT", layer="btt"),
    "btt-moe": Kind(title="BTT-MoE", layer="btt", mixture=Mixture(experts=8, active=2)),
}


@cache
def _step_flops(kind: str, width: int, context: int, batch: int) -> int:
    return flops_per_step(KINDS[kind].candidate(width), context, batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One model that is trained. level: the number of FLOPs per step that its width is chosen for."""

    kind: str
    level: int
    width: int
    rate: float
    seed: int

    @property
    def candidate(self) -> Candidate:
        return KINDS[self.kind].candidate(self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Every run gets `flops` training FLOPs, rounded to whole steps.

    levels: training FLOPs per step; a kind has at each the width whose FLOPs per step are nearest, as a ratio. So
    kinds compare at equal FLOPs, tokens and steps (nearly). At the last level all learning rates are tried, at
    the others the common one.
    """

    flops: int
    levels: tuple[int, ...]
    rates: tuple[float, ...]
    common_rate: float
    seeds: tuple[int, ...]
    timing_rounds: int
    protocol: Protocol = field(default_factory=Protocol)

    def step_flops(self, kind: str, width: int) -> int:
        return _step_flops(kind, width, self.protocol.context, self.protocol.batch)

    def steps(self, run: Run) -> int:
        return round(self.flops / self.step_flops(run.kind, run.width))

    def width(self, kind: str, level: int) -> int:
        def ratio(width: int) -> float:
            return abs(math.log(self.step_flops(kind, width) / level))

        return min(range(HEAD_SIZE, 16 * HEAD_SIZE + 1, HEAD_SIZE), key=ratio)

    def runs(self) -> Iterator[Run]:
        """Seed by seed, so that a study that is stopped holds whole seeds; the kinds in turn, so that they meet the
        same state of the machine."""
        for seed in self.seeds:
            for level in reversed(self.levels):
                for rate in self.rates if level == self.levels[-1] else (self.common_rate,):
                    for kind in KINDS:
                        yield Run(kind=kind, level=level, width=self.width(kind, level), rate=rate, seed=seed)

    def to_json(self) -> dict[str, Any]:
        found = asdict(self)
        return found | {name: list(found[name]) for name in ("levels", "rates", "seeds")}


FULL = Design(
    flops=88_000_000_000,
    levels=(220_000_000, 440_000_000),
    rates=(1e-3, 3e-3, 9e-3, 2.7e-2, 8.1e-2, 0.243, 0.729),
    common_rate=3e-3,
    seeds=(0, 1, 2),
    timing_rounds=15,
)
"""The study."""

SMALL = Design(
    flops=25_000_000,
    levels=(1_500_000, 3_000_000),
    rates=(3e-3, 3.0),
    common_rate=3e-3,
    seeds=(0,),
    timing_rounds=1,
    protocol=Protocol(context=16, batch=4, warmup_steps=2, validation_sequences=8),
)
"""All of its parts in a few seconds; the losses mean nothing, the greater learning rate diverges."""
