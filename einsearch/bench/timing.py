"""Timing of several functions in turn, so that a busy machine slows them all alike."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

Run = Callable[[], object]
Key = TypeVar("Key", bound=Hashable)

FEWEST, MOST = 5, 50
"""Rounds, where nobody says how many."""

SECONDS = 10.0
"""Rounds go on for about so long, within FEWEST and MOST."""

_FLUSHED = 256 << 20
"""Bytes that are written between two runs on a GPU: more than its second-level cache holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds of one function, one for each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half of the range that the middle half of the rounds lies in."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2

    def speedup(self, base: Times) -> float:
        """How many times as fast as `base`: the median over rounds of the two times of one round.

        >>> Times(seconds=(1.0, 2.0, 4.0)).speedup(Times(seconds=(2.0, 4.0, 4.0)))
        2.0
        """
        return statistics.median(theirs / own for own, theirs in zip(self.seconds, base.seconds, strict=True))


class Clock(Protocol):
    """Runs functions one after the other. warm_up: how many rounds come first that do not count."""

    warm_up: int

    def __call__(self, runs: Sequence[Run]) -> list[float]:
        """Seconds of each."""
        ...


class CpuClock:
    """Wall-clock time of this thread's work and of the threads that it waits for."""

    warm_up = 1

    def __call__(self, runs: Sequence[Run]) -> list[float]:
        seconds = []
        for run in runs:
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
        return seconds


class CudaClock:
    """Time on the GPU, between two events; before each run its cache is overwritten."""

    warm_up = 3

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._flushed = torch.zeros(_FLUSHED, dtype=torch.int8, device=device)

    def __call__(self, runs: Sequence[Run]) -> list[float]:
        events = []
        for run in runs:
            pair = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            self._flushed.zero_()
            pair[0].record()
            run()
            pair[1].record()
            events.append(pair)
        torch.cuda.synchronize(self._device)
        return [start.elapsed_time(end) / 1e3 for start, end in events]


def clock_of(device: torch.device) -> Clock:
    return CudaClock(device) if device.type == "cuda" else CpuClock()


def round_order(count: int, number: int) -> list[int]:
    """The order of round `number`: shuffled, so that nothing always follows the same; equal arguments, equal order."""
    order = list(range(count))
    random.Random(number).shuffle(order)
    return order


def rounds_for(seconds: float) -> int:
    """How many rounds of so many seconds."""
    return max(FEWEST, min(MOST, int(SECONDS / seconds)))


def interleaved(runs: Mapping[Key, Run], clock: Clock, repeats: int | None = None) -> dict[Key, Times]:
    """Time functions in rounds, each once a round; `repeats` rounds, or as many as fit in SECONDS."""
    keys = list(runs)
    warm = [0.0]
    for _ in range(clock.warm_up):
        warm = clock([runs[key] for key in keys])
    seconds: dict[Key, list[float]] = {key: [] for key in keys}
    with _without_garbage_collection():
        for number in range(repeats or rounds_for(sum(warm))):
            order = [keys[place] for place in round_order(len(keys), number)]
            for key, took in zip(order, clock([runs[key] for key in order]), strict=True):
                seconds[key].append(took)
    return {key: Times(seconds=tuple(each)) for key, each in seconds.items()}


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
