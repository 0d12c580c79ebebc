"""How fast this machine trains: a short measurement, for the expected time only. No decision uses it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from einsearch.proxy.batches import Batches
from einsearch.proxy.corpus import Corpus
from einsearch.proxy.device import autocast, prepare, synchronize
from einsearch.proxy.flops import flops_per_step
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.protocol import Setting
from einsearch.proxy.trainer import optimizer_of
from einsearch.search.plan import Plan
from einsearch.space.candidate import Candidate

_STEPS = 3
_EVALUATION_SHARE = 0.25
"""An allowance for evaluation, checkpoints and idle workers, as a share of training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Training FLOPs a second of one worker on dense layers and on candidates, and the time a plan takes."""

    dense: float
    candidates: float
    seconds: float


def calibrate(plan: Plan, setting: Setting, corpus: Corpus, device: torch.device, workers: int) -> Speed:
    """Time a few steps of a dense model and of known structures of the plan's middle widths."""
    prepare(device)
    dense = Candidate.dense(plan.space.shape(plan.ladder[-1].width))
    width = plan.space.widths[len(plan.space.widths) // 2]
    known = [c for _, c in plan.space.known_first() if c.shape.width == width][:2]
    dense_speed = _flops_per_second(dense, setting, corpus, device)
    speeds = [_flops_per_second(candidate, setting, corpus, device) for candidate in known] or [dense_speed]
    search = sum(speeds) / len(speeds)
    training = plan.ladder_flops / dense_speed + (plan.budget - plan.ladder_flops) / search
    return Speed(dense=dense_speed, candidates=search, seconds=training * (1 + _EVALUATION_SHARE) / workers)


def _flops_per_second(candidate: Candidate, setting: Setting, corpus: Corpus, device: torch.device) -> float:
    protocol = setting.protocol
    model = ProxyGPT2(candidate, protocol, seed=0).to(device)
    optimizer = optimizer_of(model, setting)
    batches = Batches(corpus=corpus, context=protocol.context, batch=protocol.batch, seed=0)
    fastest = float("inf")
    for step in range(_STEPS + 1):
        synchronize(device)
        began = time.perf_counter()
        with autocast(setting):
            loss = model.loss(torch.from_numpy(batches.train(step)).to(device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        synchronize(device)
        if step:  # the first one warms up
            fastest = min(fastest, time.perf_counter() - began)
    return flops_per_step(candidate, protocol.context, protocol.batch) / fastest
