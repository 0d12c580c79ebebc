"""The roofline of a device: its fastest product and its fastest copy, measured.

Williams, Waterman, Patterson, "Roofline: an insightful visual performance model" (2009).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from einsearch.bench.place import Place
from einsearch.bench.timing import Clock, Run, clock_of
from einsearch.bench.work import Work

_LONG_ENOUGH = 0.02
"""Seconds of a product after which no larger one is tried."""

_SMALLEST, _LARGEST = 512, 8192
"""Rows of the square matrices."""

_ARRAY = {"cpu": 128 << 20, "cuda": 1 << 30}
"""Bytes of an array that is copied: far more than a cache holds."""

_TIMES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """What a device reached: FLOP/s of a large product, bytes/s of a large copy or sum, in one dtype."""

    flops_per_second: float
    bytes_per_second: float

    def seconds(self, work: Work) -> float:
        """The least time for some work: that of its arithmetic or of its least traffic, whichever is longer.

        >>> Roofline(flops_per_second=100.0, bytes_per_second=10.0).seconds(Work(flops=200, moved=90, least=30))
        3.0
        """
        return max(work.flops / self.flops_per_second, work.least / self.bytes_per_second)

    def __str__(self) -> str:
        return f"{self.flops_per_second / 1e9:,.1f} GFLOP/s, {self.bytes_per_second / 1e9:,.1f} GB/s"


@torch.no_grad()
def measure_roofline(place: Place, quick: bool = False) -> Roofline:
    """The roofline of a place, within :meth:`Place.settled`; `quick`: of small arrays, to see that it works."""
    clock = clock_of(place.device)
    return Roofline(
        flops_per_second=max(_products(place, clock, quick)), bytes_per_second=max(_copies(place, clock, quick))
    )


def _products(place: Place, clock: Clock, quick: bool) -> Iterator[float]:
    """FLOP/s of square products, each twice the size of the one before."""
    size, seconds = 128 if quick else _SMALLEST, 0.0
    while seconds < _LONG_ENOUGH and size <= _LARGEST:
        a, b = (torch.randn(size, size, device=place.device).to(place.dtype) for _ in range(2))
        out = torch.zeros_like(a)
        seconds = _best(partial(torch.mm, a, b, out=out), clock)
        yield 2 * size**3 / seconds
        size *= 2
        if quick:
            return


def _copies(place: Place, clock: Clock, quick: bool) -> Iterator[float]:
    """Bytes/s of a copy (one read, one write) and of a sum of two arrays (two reads, one write)."""
    length = (1 << 20 if quick else _ARRAY[place.device.type]) // place.dtype.itemsize
    a, b, out = (torch.ones(length, dtype=place.dtype, device=place.device) for _ in range(3))
    size = a.nbytes
    yield 2 * size / _best(partial(out.copy_, a), clock)
    yield 3 * size / _best(partial(torch.add, a, b, out=out), clock)


def _best(run: Run, clock: Clock) -> float:
    """The least seconds of some runs: others only lose time."""
    clock([run] * clock.warm_up)
    return min(clock([run] * _TIMES))
