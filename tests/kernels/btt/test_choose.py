"""The choice of kernels and tiles, as pure arithmetic."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.kernels.btt.choose import (
    CONFIGS,
    SHARED_MEMORY,
    Choice,
    choose_gradient,
    choose_product,
    gradients,
    products,
)
from einsearch.kernels.btt.sizes import Sizes
from einsearch.kernels.btt.tiles import padded, power_of_two

NUMBER = st.integers(1, 200)
ANY_SIZES = st.builds(Sizes, alpha=NUMBER, gamma=NUMBER, epsilon=NUMBER, phi=NUMBER, rho=st.integers(1, 40))


def square(n: int, rho: int = 1) -> Sizes:
    return Sizes(alpha=n, gamma=n, epsilon=n, phi=n, rho=rho)


@pytest.mark.parametrize(
    ("size", "kind"),
    [(square(16), "resident"), (square(32), "resident"), (square(32, 4), "streamed"), (square(64), "staged")],
)
def test_the_product_of_a_size_has_its_kernel(size: Sizes, kind: str) -> None:
    assert choose_product(size).kind == kind


def test_the_gradient_is_staged_where_the_gradient_of_the_intermediate_is_at_hand() -> None:
    assert choose_gradient(square(32)).kind == "fused"
    given_it = choose_gradient(square(64), given=True)
    assert (given_it.kind, len(given_it.launches)) == ("staged", 1)


@given(sizes=ANY_SIZES, itemsize=st.sampled_from([2, 4]))
def test_every_size_has_a_product_and_gradients_that_fit(sizes: Sizes, itemsize: int) -> None:
    for found in (products(sizes, itemsize, SHARED_MEMORY), gradients(sizes, itemsize, SHARED_MEMORY)):
        assert any(choice.kind == "staged" for choice in found)
        for choice in found:
            assert_sound(choice)


def assert_sound(choice: Choice) -> None:
    for configs in choice.launches:
        assert 1 <= len(configs) <= CONFIGS
        assert len(set(configs)) == len(configs)
        assert configs[0].cost == min(config.cost for config in configs)
        for config in configs:
            assert all(n == power_of_two(n) for _, n in config.tile)
            batched = [n for axis, n in config.tile if axis in "GB"]
            assert config.warps <= min(batched), "a warp without an index of the batch computes nothing new"
            assert 64 % config["N"] == 0, "a split of the tokens is a multiple of 64"


@given(sizes=ANY_SIZES)
def test_a_tile_holds_the_axes_that_are_not_cut(sizes: Sizes) -> None:
    for choice in products(sizes, 2, SHARED_MEMORY):
        for config in choice.launches[0] if choice.kind in ("resident", "streamed") else ():
            assert config["A"] == padded(sizes.alpha)
            assert config["E"] == padded(sizes.epsilon)
            if choice.kind == "resident":
                assert (config["G"], config["R"]) == (padded(sizes.gamma), power_of_two(sizes.rho))


def test_the_tiles_of_a_summed_axis_do_not_vary() -> None:
    """So that a tuned kernel adds up in the same order as the default one."""
    summed = {"A", "G", "K", "R"}
    for sizes in (square(16), square(32), square(32, 4), square(64), square(64, 3), square(200)):
        for choice in products(sizes, 2, SHARED_MEMORY):
            for configs in choice.launches:
                assert len({tuple(item for item in config.tile if item[0] in summed) for config in configs}) == 1


def test_less_shared_memory_gives_smaller_tiles() -> None:
    assert choose_product(square(32)).kind == "resident"
    assert choose_product(square(32), shared_memory=100_000).launches[0][0]["P"] == 16
    assert choose_product(square(32), shared_memory=60_000).kind != "resident"
    with pytest.raises(EinsearchError, match=r"^no tile of the btt kernel fits the shared memory of this device; use"):
        choose_product(square(32), shared_memory=1000)


def test_the_cost_of_a_resident_product_is_its_traffic_and_its_macs() -> None:
    # d = 1024 in one slice: x and y once at both levels of memory, 2 bytes each; a byte stands for 64 MACs.
    assert choose_product(square(32)).cost == 4 * 1024 * 2 + 2 * 32**3 / 64


def test_the_pure_part_imports_no_triton() -> None:
    pytest.importorskip("triton")
    pure = "import einsearch.kernels.btt.reference, einsearch.kernels.btt.choose, einsearch.kernels.btt.match"
    look = "print('triton' in sys.modules)"
    code = f"import sys; {pure}; {look}; import einsearch.kernels.btt.forward; {look}"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert found == ["False", "True"]
