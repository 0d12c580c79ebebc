"""Kernels and tiles that are chosen: they fit, cover every index and do what the model of the traffic says."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from einsearch.kernels.btt_moe import tiles
from einsearch.kernels.btt_moe.choose import choose_gradient, choose_product, chunk
from einsearch.kernels.btt_moe.direction import Direction
from einsearch.kernels.btt_moe.tiles import Limits, Tile

SHARED = {"compute capability 9.0": 227 * 1024, "8.0": 163 * 1024, "8.6": 99 * 1024}

SIZES = st.integers(1, 80)
DIRECTIONS = st.builds(Direction, alpha=SIZES, gamma=SIZES, epsilon=SIZES, phi=SIZES, rho=st.integers(1, 20))
LIMITS = st.builds(
    Limits, itemsize=st.sampled_from([2, 4]), shared=st.sampled_from(list(SHARED.values())), pairs=st.integers(1, 9999)
)


def square(width: int) -> Direction:
    return Direction(alpha=width, gamma=width, epsilon=width, phi=width, rho=1)


def limits(**changed: int) -> Limits:
    return Limits(**({"itemsize": 2, "shared": SHARED["compute capability 9.0"], "pairs": 2048} | changed))


@settings(max_examples=150)
@given(direction=DIRECTIONS, limits=LIMITS, given_=st.booleans())
def test_there_is_a_choice_for_every_size_and_device(direction: Direction, limits: Limits, given_: bool) -> None:
    choices = choose_product(direction, limits), choose_gradient(direction, limits, given=given_)
    for tile in (tile for choice in choices for tile in choice.launches):
        assert all(size & (size - 1) == 0 for size in tile.blocks.values())
        assert tile.blocks["N"] <= max(16, tiles.power_of_two(limits.pairs))
        batches = [tile.blocks[axis] for axis in "GPB" if axis in tile.blocks]
        assert 4 <= tile.warps <= min(batches)
        # The dimensions of a dot: rows and columns, with rho; what is summed.
        rho = tile.blocks.get("R", 1)
        assert all(tile.blocks[axis] * (rho if axis in "GP" else 1) >= 16 for axis in "NAEGPMK" if axis in tile.blocks)


def test_small_widths_are_fused_and_stay_on_chip_large_ones_go_through_memory() -> None:
    for width in (16, 32):
        (tile,) = choose_product(square(width), limits()).launches
        assert tile.streams
    choice = choose_product(square(64), limits())
    assert not choice.fused
    assert [tile.streams for tile in choice.launches] == [True, True]


def test_the_traffic_of_a_fused_product() -> None:
    """At width 1024 a program holds all of phi: x and y pass the cache once, and memory once."""
    (tile,) = choose_product(square(32), limits()).launches
    assert (tile.blocks["P"], tile.slices, tile.cost) == (32, 1, 4 * 1024)
    half = next(tile for tile in tiles.fused_products(square(32), limits()) if tile.blocks["P"] == 16 and tile.streams)
    assert (half.slices, half.cost) == (2, 5 * 1024)
    again = next(
        tile for tile in tiles.fused_products(square(32), limits()) if not tile.streams and tile.blocks["P"] == 16
    )
    assert again.cost == 5 * 1024 + 2 * 32**3 / again.blocks["N"]


def test_a_given_middle_is_not_computed_again() -> None:
    direction = square(64)
    given_, computed = (choose_gradient(direction, limits(), given=given) for given in (True, False))
    assert given_.cost <= computed.cost
    assert len(given_.launches) == 1


def test_less_shared_memory_takes_no_more() -> None:
    for shared in SHARED.values():
        for width in (16, 32, 64):
            for tile in tiles.fused_products(square(width), limits(shared=shared)):
                a, g, e, p = (tile.blocks[axis] for axis in "AGEP")
                assert 2 * g * p * (a + e) * 16 / tile.warps < shared


def test_chunks_share_the_work_among_many_programs_and_are_powers_of_two() -> None:
    """4 rounds of 264 programs of 8 warps, or of 132 of 16, in products; 2 rounds in gradients."""
    tile = Tile(blocks={"N": 16}, warps=8, cost=0, slices=2)
    assert chunk(tile, 4 * 264 * 32, "product") == 64
    assert chunk(tile, 4 * 264 * 32 + 1, "product") == 128
    assert chunk(dataclasses.replace(tile, warps=16), 4 * 132 * 32, "product") == 64
    assert chunk(tile, 4 * 264 * 32, "gradient") == 128
    assert chunk(tile, 10, "product") == 16
    assert chunk(dataclasses.replace(tile, streams=False), 4 * 264 * 32, "product") == 16
