"""Training one model of the study, and timing a step of several in turn: what comes of it, as a record."""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from einsearch.proxy.batches import Batches
from einsearch.proxy.corpus import Corpus
from einsearch.proxy.device import compute_dtype, setting_for
from einsearch.proxy.flops import active_parameter_count, parameter_count
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.optimizer import clip_gradients, optimizer_of
from einsearch.proxy.trainer import Segment, train_segment
from einsearch.proxy.vocabulary import VOCABULARY_SIZE
from studies.mixtures.design import KINDS, Design, Run

EVALUATIONS = 8
"""Validation losses of a run, at equal ratios of FLOPs, two to an octave."""

WARM_UP = 3
"""Untimed rounds."""

UNIFORM = math.log(VOCABULARY_SIZE)
"""Validation loss of a uniform guess, where training starts; a run that ends above it has diverged."""

Record = dict[str, Any]


def train(run: Run, design: Design, corpus: Corpus, device: torch.device) -> Record:
    """Train a model and say how it went.

    validation_loss: nats a symbol, the last; None where training diverged. failure: how it did. seconds: wall-clock
    of training steps; cpu_seconds: processor time of all, validation too. statistics: of
    :class:`einsearch.proxy.tally.Tally`, None where not finite. load: of the machine at the end.
    """
    protocol = replace(design.protocol, learning_rate=run.rate)
    setting = setting_for(protocol, corpus, device)
    steps, candidate = design.steps(run), run.candidate
    at = sorted({max(1, round(steps * 2 ** (-n / 2))) for n in range(EVALUATIONS)})
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        segment = Segment(
            candidate=candidate, seed=run.seed, start=0, end=steps, evaluate_at=tuple(at), folder=Path(folder)
        )
        result = train_segment(segment, setting, corpus, device)
    loss = result.points[-1].validation_loss if result.points else math.nan
    failure = result.failure
    if failure is None and loss > UNIFORM:
        failure = f"diverged: validation loss {loss:.3f} at the end, a uniform guess has {UNIFORM:.3f}"
    return {
        **asdict(run),
        "key": candidate.key,
        "label": candidate.label,
        "parameters": parameter_count(candidate, protocol.context, protocol.weight_normalization),
        "active_parameters": active_parameter_count(candidate, protocol.context, protocol.weight_normalization),
        "step_flops": design.step_flops(run.kind, run.width),
        "steps": steps,
        "validation_loss": None if failure else loss,
        "failure": failure,
        "points": [asdict(point) for point in result.points],
        "seconds": result.seconds,
        "cpu_seconds": time.process_time() - began,
        "tokens_per_second": result.tokens / result.seconds,
        "statistics": {name: value if math.isfinite(value) else None for name, value in result.statistics.items()},
        "implementations": list(result.implementations),
        "activations": result.activations,
        "load": os.getloadavg()[0],
    }


def time_steps(design: Design, level: int, corpus: Corpus, device: torch.device) -> list[Record]:
    """Processor time of a training step of every kind at one level, taken in turn.

    milliseconds: median over the rounds. to_dense: median, least and greatest of its ratio to dense in the same round.
    """
    trainees = {kind: _trainee(kind, design, level, corpus, device) for kind in KINDS}
    rounds = [{kind: _timed(step) for kind, step in trainees.items()} for _ in range(WARM_UP + design.timing_rounds)]
    found = []
    for kind in KINDS:
        taken = [each[kind] for each in rounds[WARM_UP:]]
        ratios = [each[kind] / each["dense"] for each in rounds[WARM_UP:]]
        width = design.width(kind, level)
        found.append(
            {
                "kind": kind,
                "level": level,
                "width": width,
                "step_flops": design.step_flops(kind, width),
                "milliseconds": 1e3 * statistics.median(taken),
                "to_dense": [statistics.median(ratios), min(ratios), max(ratios)],
            }
        )
    return found


def _trainee(kind: str, design: Design, level: int, corpus: Corpus, device: torch.device) -> Callable[[], None]:
    """A training step as :func:`einsearch.proxy.trainer.train_segment` does it."""
    protocol, setting = design.protocol, setting_for(design.protocol, corpus, device)
    model = ProxyGPT2(KINDS[kind].candidate(design.width(kind, level)), protocol, seed=0).to(device)
    model.use_implementations(model.fastest_implementations(device, compute_dtype(setting)))
    optimizer = optimizer_of(model, setting)
    batches = Batches(corpus=corpus, context=protocol.context, batch=protocol.batch, seed=0)
    window = torch.from_numpy(batches.train(0)).to(device)

    def step() -> None:
        losses = model.training_losses(window)
        losses.objective.backward()
        clip_gradients(model, optimizer, protocol)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        model.after_step(losses.routings)

    return step


def _timed(step: Callable[[], None]) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began
