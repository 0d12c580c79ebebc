"""Which kernel computes a Block Tensor-Train, and in which tiles: pure arithmetic, without torch, triton or a GPU.

A kernel fits where its tiles do: into the registers of its threads and the shared memory of a program. Of
those that fit, the cheapest is chosen by a model of the traffic (README.md). A choice offers a few
configurations, the most promising first, that compute the same sums in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from einsearch.errors import EinsearchError
from einsearch.kernels.btt import tiles
from einsearch.kernels.btt.sizes import Sizes
from einsearch.kernels.btt.tiles import Config

SHARED_MEMORY = 232448
"""Bytes of shared memory that a program may use on compute capability 9.0; on 8.0 it is 166912."""

CONFIGS = 5
"""Configurations that are tried on a GPU, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The kernels to launch, one after the other: for each its configurations, the first the default.

    kind: `resident` and `streamed` are fused products, `fused` is the fused gradient of a factor;
    `staged` writes the intermediate to memory, by its first launch, and reads it by the second.
    """

    kind: str
    launches: tuple[tuple[Config, ...], ...]

    @property
    def cost(self) -> float:
        """Of one token, in bytes of traffic."""
        return sum(configs[0].cost for configs in self.launches)

    def without_first(self) -> Choice:
        """What is left to do where the intermediate is in memory already."""
        return Choice(kind=self.kind, launches=self.launches[1:])


@lru_cache(maxsize=4096)
def choose_product(sizes: Sizes, *, itemsize: int = 2, shared_memory: int = SHARED_MEMORY) -> Choice:
    """How y is computed from x, for numbers of `itemsize` bytes and so many bytes of shared memory.

    Raises EinsearchError where no tile fits.

    >>> choose_product(Sizes(alpha=32, gamma=32, epsilon=32, phi=32, rho=1)).kind
    'resident'
    >>> choose_product(Sizes(alpha=64, gamma=64, epsilon=64, phi=64, rho=1)).kind
    'staged'
    """
    return _cheapest(products(sizes, itemsize, shared_memory))


@lru_cache(maxsize=4096)
def choose_gradient(
    sizes: Sizes, *, itemsize: int = 2, shared_memory: int = SHARED_MEMORY, given: bool = False
) -> Choice:
    """How the gradient of the first factor is computed from x and that of y.

    That of the second is the same with the sizes of the exchanged roles. `given`: the gradient of the
    intermediate is in memory anyway, so that only the last launch of a staged choice costs.
    """
    found = gradients(sizes, itemsize, shared_memory)
    return _cheapest([choice.without_first() if given and choice.kind == "staged" else choice for choice in found])


def products(sizes: Sizes, itemsize: int, shared_memory: int) -> list[Choice]:
    """The ways to compute y that fit, one of a kind."""
    limits = itemsize, shared_memory
    stages = _best(tiles.first_stage(sizes, *limits)), _best(tiles.second_stage(sizes, *limits))
    return _fitting(
        Choice(kind="resident", launches=(_best(tiles.resident(sizes, *limits)),)),
        Choice(kind="streamed", launches=(_best(tiles.streamed(sizes, *limits)),)),
        Choice(kind="staged", launches=stages),
    )


def gradients(sizes: Sizes, itemsize: int, shared_memory: int) -> list[Choice]:
    """The ways to compute the gradient of the first factor that fit, one of a kind."""
    limits = itemsize, shared_memory
    stages = _best(tiles.first_stage(sizes.exchanged, *limits)), _best(tiles.staged_gradient(sizes, *limits))
    return _fitting(
        Choice(kind="fused", launches=(_best(tiles.fused_gradient(sizes, *limits)),)),
        Choice(kind="staged", launches=stages),
    )


def _fitting(*choices: Choice) -> list[Choice]:
    return [choice for choice in choices if all(choice.launches)]


def _cheapest(choices: list[Choice]) -> Choice:
    if not choices:
        raise EinsearchError(
            "no tile of the btt kernel fits the shared memory of this device; use another implementation"
        )
    return min(choices, key=lambda choice: choice.cost)


def _best(found: Iterable[Config]) -> tuple[Config, ...]:
    """Up to CONFIGS: the first three of least cost, and the first of the next cost, whose programs are smaller."""
    by_cost = groupby(sorted(found, key=lambda config: config.cost), key=lambda config: config.cost)
    groups = [list(configs) for _, configs in by_cost]
    best = groups[0][: CONFIGS - 2] if groups else []
    return (*best, *(groups[1][: CONFIGS - len(best)] if len(groups) > 1 else ()))
