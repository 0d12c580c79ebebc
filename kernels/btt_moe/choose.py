"""Which kernels compute a mixture, and in which tiles.

From sizes alone, never by timing, so that a run repeats its bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from einsearch.kernels.btt_moe import tiles
from einsearch.kernels.btt_moe.direction import Direction
from einsearch.kernels.btt_moe.tiles import Limits, Tile, blocks, power_of_two

WARPS = 132 * 16
"""Warps that run at a time on a large GPU. A constant, so that the order of a sum is the same on every device."""

ROUNDS = {"product": 4, "gradient": 2}
"""About how many programs run one after the other in each place: enough that the last ones do not run alone. Each reads
its slices of the factors; each of a gradient's writes a partial sum as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One fused kernel, or those of the stages, one after the other, through the middle in memory."""

    fused: bool
    launches: tuple[Tile, ...]

    @property
    def cost(self) -> float:
        return sum(tile.cost for tile in self.launches)


@cache
def choose_product(direction: Direction, limits: Limits) -> Choice:
    """How the target is computed from the source.

    >>> limits = Limits(itemsize=2, shared=232448, pairs=2048)
    >>> choose_product(Direction(alpha=32, gamma=32, epsilon=32, phi=32, rho=1), limits).fused
    True
    >>> choose_product(Direction(alpha=64, gamma=64, epsilon=64, phi=64, rho=1), limits).fused
    False
    """
    return _cheapest(
        tiles.fused_products(direction, limits), [first_stage(direction, limits), last_stage(direction, limits)]
    )


@cache
def choose_gradient(direction: Direction, limits: Limits, *, given: bool) -> Choice:
    """How the gradient of the first factor is computed; given: the gradient of the middle is at hand."""
    stages = [_least(tiles.stage_gradients(direction, limits))]
    if not given:
        stages.insert(0, first_stage(direction.reversed(), limits))
    return _cheapest(tiles.fused_gradients(direction, limits), stages)


def first_stage(direction: Direction, limits: Limits) -> Tile:
    rows = direction.rho * direction.phi
    return _least(tiles.stage_products(near=direction.gamma, rows=rows, columns=direction.alpha, limits=limits))


def last_stage(direction: Direction, limits: Limits) -> Tile:
    columns = direction.rho * direction.gamma
    return _least(tiles.stage_products(near=direction.phi, rows=direction.epsilon, columns=columns, limits=limits))


def chunk(tile: Tile, pairs: int, work: str) -> int:
    """Pairs that one program works on: a power of two, as each is compiled for."""
    if not tile.streams:
        return tile.blocks["N"]
    programs = ROUNDS[work] * WARPS // tile.warps
    return max(tile.blocks["N"], power_of_two(blocks(pairs * tile.slices, programs)))


def _cheapest(fused: Iterable[Tile], stages: list[Tile]) -> Choice:
    found = [Choice(fused=True, launches=(tile,)) for tile in fused]
    return min([*found, Choice(fused=False, launches=tuple(stages))], key=lambda choice: choice.cost)


def _least(found: Iterable[Tile]) -> Tile:
    return min(found, key=lambda tile: tile.cost)
