"""The training loop of one trial, one segment (checkpoint to checkpoint) at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from einsearch.errors import EinsearchError
from einsearch.proxy import checkpoint
from einsearch.proxy.batches import Batches
from einsearch.proxy.corpus import Corpus
from einsearch.proxy.device import autocast, compute_dtype, machine, peak_memory_bytes, synchronize
from einsearch.proxy.flops import flops_per_step
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.gradients import Gradients
from einsearch.proxy.location import Location, below
from einsearch.proxy.optimizer import clip_gradients, optimizer_of
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.proxy.ranks import ALONE, Ranks
from einsearch.proxy.tally import Tally
from einsearch.proxy.vocabulary import VOCABULARY_SIZE
from einsearch.space.candidate import Candidate

_CHECK_EVERY = 10
"""Steps between two looks at the training loss: on a GPU each look waits for the device."""

_MARGIN = 0.5
"""Nats above the loss of a uniform guess, where training starts, that count as diverged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of one trial's training: steps `start`..`end`, evaluated after the steps `evaluate_at`.

    folder: where the trial's checkpoints are written, as `step-N`. source: the checkpoint to go on from, where it
    lies elsewhere. implementation: of the linear layers; `auto` is the fastest, measured at the trial's first step.
    """

    candidate: Candidate
    seed: int
    start: int
    end: int
    evaluate_at: tuple[int, ...]
    folder: Location
    implementation: str = "auto"
    source: Location | None = None

    def checkpoint(self, step: int) -> Location:
        if step == self.start and self.source is not None:
            return self.source
        return below(self.folder, f"step-{step:08d}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One evaluation. flops: training FLOPs so far; losses in nats a symbol; seconds: of training so far.

    train_loss is the mean over the steps since the point before.
    """

    step: int
    flops: int
    train_loss: float
    validation_loss: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentResult:
    """What a segment came to. `end` is less than asked where it was stopped or diverged (`failure` says how).

    seconds: spent in training steps. evaluation_seconds: in validation. busy_seconds: in all, with making the
    model, checkpoints and the like. statistics: of :class:`einsearch.proxy.tally.Tally`. machine: where it ran.
    micro_batch: sequences at a time, where memory did not hold a batch.
    """

    end: int
    points: tuple[Point, ...]
    seconds: float
    evaluation_seconds: float
    busy_seconds: float
    tokens: int
    checkpoint: Location | None
    failure: str | None
    implementations: tuple[str, ...]
    activations: str
    statistics: dict[str, float]
    peak_memory_bytes: int
    machine: str
    micro_batch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A sign of life: steps done, the latest mean training loss, training FLOPs a second of this segment."""

    step: int
    loss: float
    flops_per_second: float


def never() -> bool:
    return False


def ignore(_: Progress) -> None:
    return None


@torch.no_grad()
def validation_loss(model: ProxyGPT2, windows: Tensor, setting: Setting, ranks: Ranks = ALONE) -> float:
    """Mean loss over all windows, in batches of the protocol's size."""
    windows = ranks.part(windows)
    total = torch.zeros((), dtype=torch.float64, device=windows.device)
    for batch in windows.split(setting.protocol.batch):
        with autocast(setting):
            total += model.loss(batch).double() * len(batch)
    return ranks.mean(total, len(windows))


def train_segment(
    segment: Segment,
    setting: Setting,
    corpus: Corpus,
    device: torch.device,
    *,
    on_progress: Callable[[Progress], None] = ignore,
    should_stop: Callable[[], bool] = never,
    ranks: Ranks = ALONE,
) -> SegmentResult:
    """Train from checkpoint `start` to `end`, evaluating on the way, and leave a checkpoint there.

    ranks: this process among those that train the trial together (:mod:`einsearch.proxy.parallel`).

    With the same candidate, seed, setting and machine the losses are bit-identical however training is
    cut into segments. A loss that is not finite, or above that of a uniform guess after warm-up, ends
    the segment as failed. Where memory does not hold a batch it is divided (:mod:`einsearch.proxy.gradients`),
    also in the segments that follow. Raises OutOfMemory where that does not help.
    """
    began = time.perf_counter()
    protocol = setting.protocol
    model = ProxyGPT2(segment.candidate, protocol, segment.seed, segment.implementation).to(device)
    optimizer = optimizer_of(model, setting)
    loss_sum, loss_count, seconds_before = 0.0, 0, 0.0
    chosen: dict[str, str] = {}
    gradients = Gradients(model, setting)
    if segment.start:
        state = checkpoint.load(segment.checkpoint(segment.start), model, optimizer)
        identity = (segment.candidate.key, segment.seed, setting.id)
        if (state.key, state.seed, state.setting) != identity:
            raise EinsearchError(
                f"checkpoint {segment.checkpoint(segment.start)} is of key {state.key}, seed {state.seed}, setting "
                f"{state.setting}, not {' '.join(map(str, identity))}; remove it to train from the start"
            )
        loss_sum, loss_count, seconds_before = state.loss_sum, state.loss_count, state.seconds
        chosen, gradients.micro_batch = state.implementations, state.micro_batch
    if segment.implementation == "auto":
        # A trial keeps what it began with: another implementation rounds differently.
        chosen = chosen or ranks.agree(model.fastest_implementations(device, compute_dtype(setting)))
        model.use_implementations(chosen)
    batches = Batches(corpus=corpus, context=protocol.context, batch=protocol.batch, seed=segment.seed)
    validation = torch.from_numpy(batches.validation(protocol.validation_sequences)).to(device)
    step_flops = flops_per_step(segment.candidate, protocol.context, protocol.batch)

    step, seconds, evaluation_seconds, points, failure = segment.start, 0.0, 0.0, [], None
    pending: list[Tensor] = []
    tally = Tally()
    started = time.perf_counter()
    stop = ranks.size == 1 and should_stop()
    while step < segment.end and failure is None and not stop:
        window = ranks.part(torch.from_numpy(batches.train(step))).to(device, non_blocking=True)
        for group in optimizer.param_groups:
            group["lr"] = protocol.learning_rate_at(step) * group["multiplier"]
        losses = gradients.add(window)
        loss, stop = ranks.average(model.parameters(), losses.loss.detach(), should_stop())
        norm = clip_gradients(model, optimizer, protocol)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        model.after_step(losses.routings)
        tally.add(loss, norm, losses.routings)
        pending.append(loss)
        step += 1

        evaluate = step in segment.evaluate_at
        if not (evaluate or step == segment.end or step % _CHECK_EVERY == 0):
            continue
        latest = torch.stack(pending).tolist()
        pending.clear()
        loss_sum, loss_count = sum(latest, loss_sum), loss_count + len(latest)
        synchronize(device)
        now = time.perf_counter()
        seconds, started = seconds + now - started, now
        done = step - segment.start
        mean = sum(latest) / len(latest)
        on_progress(Progress(step=step, loss=mean, flops_per_second=done * step_flops / seconds))
        failure = _divergence(latest[-1], step, protocol)
        if failure is None and evaluate:
            points.append(
                Point(
                    step=step,
                    flops=step * step_flops,
                    train_loss=loss_sum / loss_count,
                    validation_loss=validation_loss(model, validation, setting, ranks),
                    seconds=seconds_before + seconds,
                )
            )
            loss_sum, loss_count = 0.0, 0
            if not math.isfinite(points[-1].validation_loss):
                failure = f"diverged: validation loss is {points.pop().validation_loss} at step {step}"
            evaluated = time.perf_counter()
            evaluation_seconds, started = evaluation_seconds + evaluated - started, evaluated

    if pending:
        latest = torch.stack(pending).tolist()
        loss_sum, loss_count = sum(latest, loss_sum), loss_count + len(latest)
        seconds += time.perf_counter() - started
        failure = _divergence(latest[-1], step, protocol)
    path = None
    if failure is None and step > segment.start:
        path = segment.checkpoint(step)
        state = checkpoint.TrainingState(
            key=segment.candidate.key,
            seed=segment.seed,
            setting=setting.id,
            step=step,
            seconds=seconds_before + seconds,
            loss_sum=loss_sum,
            loss_count=loss_count,
            implementations=chosen,
            micro_batch=gradients.micro_batch,
        )
        if ranks.rank == 0:
            checkpoint.save(path, model, optimizer, state)
    return SegmentResult(
        end=step,
        points=tuple(points),
        seconds=seconds,
        evaluation_seconds=evaluation_seconds,
        busy_seconds=time.perf_counter() - began,
        tokens=(step - segment.start) * protocol.tokens_per_step,
        checkpoint=path,
        failure=failure,
        implementations=model.implementations_on(device),
        activations=model.activations_on(device),
        statistics=tally.result(),
        peak_memory_bytes=peak_memory_bytes(device),
        machine=machine(device),
        micro_batch=gradients.micro_batch,
    )


def _divergence(loss: float, step: int, protocol: Protocol) -> str | None:
    """Why the batch loss after `step` steps ends a trial, or None.

    Steps between the regular looks only count where the loss is not finite (which nothing mends), so
    that the outcome does not depend on how training is cut into segments.
    """
    if not math.isfinite(loss):
        return f"diverged: training loss is {loss} by step {step}"
    uniform = math.log(VOCABULARY_SIZE)
    if loss > uniform + _MARGIN and step > protocol.warmup_steps and step % _CHECK_EVERY == 0:
        return f"diverged: training loss {loss:.3f} at step {step}, a uniform guess has {uniform:.3f}"
    return None
