"""Every kernel against the reference in float64: outputs and all gradients, by name, on awkward sizes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from einsearch.kernels.btt import choose, reference
from einsearch.kernels.btt.sizes import Sizes
from einsearch.kernels.btt.triton import btt
from tests.kernels.btt.conftest import Force
from tests.kernels.compare import compare, draw

pytest.importorskip("triton")

SIZES = {
    "ones": (1, 1, 1, 1, 1),
    "tiles": (16, 16, 16, 16, 1),
    "primes": (5, 7, 3, 11, 2),
    "no multiples": (17, 20, 19, 18, 1),
    "many phi": (3, 2, 5, 37, 1),
    "many gamma": (2, 37, 3, 5, 1),
    "rank three": (4, 18, 6, 17, 3),
    "low rank": (40, 1, 70, 1, 5),
}


def fitting(name: str) -> list[tuple[str, str, str]]:
    """(sizes, kind of the product, kind of the gradients) of all kernels that fit in float32, each once."""
    alpha, gamma, epsilon, phi, rho = SIZES[name]
    sizes = Sizes(alpha=alpha, gamma=gamma, epsilon=epsilon, phi=phi, rho=rho)
    products = [choice.kind for choice in choose.products(sizes, 4, choose.SHARED_MEMORY)]
    gradients = [choice.kind for choice in choose.gradients(sizes, 4, choose.SHARED_MEMORY)]
    return [(name, product, gradients[n % len(gradients)]) for n, product in enumerate(products)]


CASES = [case for name in SIZES for case in fitting(name)]


def operands(name: str, *leading: int, device: str = "cpu") -> dict[str, Tensor]:
    alpha, gamma, epsilon, phi, rho = SIZES[name]
    return {
        "x": draw(*leading, alpha * gamma, seed=0, device=device),
        "a": draw(alpha, gamma, phi, rho, seed=1, device=device),
        "b": draw(gamma, epsilon, phi, rho, seed=2, device=device),
    }


def test_all_kinds_are_among_the_cases() -> None:
    assert {product for _, product, _ in CASES} == {"resident", "streamed", "staged"}
    assert {gradient for _, _, gradient in CASES} == {"fused", "staged"}


@pytest.mark.parametrize(("name", "product", "gradient"), CASES)
def test_float32(name: str, product: str, gradient: str, device: str, force: Force) -> None:
    force(product, gradient)
    compare(btt, reference.btt, operands(name, 3, 7, device=device), dtype=torch.float32)


@pytest.mark.parametrize(("product", "gradient"), [("resident", "fused"), ("streamed", "staged"), ("staged", "fused")])
def test_float16(product: str, gradient: str, device: str, force: Force) -> None:
    force(product, gradient)
    compare(btt, reference.btt, operands("primes", 21, device=device), dtype=torch.float16)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="Triton's interpreter computes bfloat16 products wrongly")
def test_bfloat16(device: str) -> None:
    for name in SIZES:
        compare(btt, reference.btt, operands(name, 300, device=device), dtype=torch.bfloat16)


@pytest.mark.parametrize(("product", "gradient"), [("resident", "fused"), ("staged", "staged")])
def test_more_tokens_than_a_tile_and_than_a_split(product: str, gradient: str, device: str, force: Force) -> None:
    force(product, gradient)
    compare(btt, reference.btt, operands("primes", 150, device=device), dtype=torch.float32)


@pytest.mark.parametrize("leading", [(), (0,), (2, 0, 3), (1,)])
def test_any_leading_axes(leading: tuple[int, ...], device: str) -> None:
    compare(btt, reference.btt, operands("primes", *leading, device=device), dtype=torch.float32)


def every_other_row(x: Tensor) -> Tensor:
    return x[::2]


def a_slice_of_the_columns(x: Tensor) -> Tensor:
    return x[:, 3:38]


def transposed(x: Tensor) -> Tensor:
    return x[:35].T


def expanded(x: Tensor) -> Tensor:
    return x[:1, :35].expand(9, 35)


@pytest.mark.parametrize("view", [every_other_row, a_slice_of_the_columns, transposed, expanded])
def test_x_that_is_not_contiguous(view: Any, device: str) -> None:
    columns = 35 if view is every_other_row else 41
    inputs = operands("primes", 1, device=device) | {"x": draw(38, columns, seed=3, device=device)}
    compare(
        lambda x, a, b: btt(view(x), a, b), lambda x, a, b: reference.btt(view(x), a, b), inputs, dtype=torch.float32
    )


def test_factors_and_upstream_gradients_that_are_not_contiguous(device: str) -> None:
    alpha, gamma, epsilon, phi, rho = SIZES["primes"]
    inputs = {
        "x": draw(9, alpha * gamma, seed=0, device=device),
        "a": draw(rho, phi, gamma, alpha, seed=1, device=device),
        "b": draw(gamma, epsilon, phi, 2 * rho, seed=2, device=device),
    }

    def through(product: Any) -> Any:
        return lambda x, a, b: product(x, a.permute(3, 2, 1, 0), b[..., ::2]).T.sum(0, keepdim=True)

    compare(through(btt), through(reference.btt), inputs, dtype=torch.float32)


@pytest.mark.parametrize("wanted", ["x", "a", "b", "xb", "ab"])
def test_only_the_gradients_that_are_wanted(wanted: str, device: str) -> None:
    inputs = {
        name: tensor.detach().requires_grad_(name in wanted)
        for name, tensor in operands("primes", 5, device=device).items()
    }
    compare(btt, reference.btt, inputs, dtype=torch.float32)


def test_gradients_repeat_bit_for_bit(device: str) -> None:
    x, a, b = (tensor.detach().float().requires_grad_() for tensor in operands("primes", 100, device=device).values())
    first, second = (torch.autograd.grad(btt(x, a, b).square().sum(), (x, a, b)) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


WRONG = {
    "the last gamma is missing": ("resident", {"G": 16}),
    "the last alpha is missing": ("resident", {"A": 16}),
    "the last epsilon is missing": ("resident", {"E": 16}),
    "the last alpha is missing in the other kernel": ("streamed", {"A": 16}),
    "the last epsilon is missing in the other kernel": ("streamed", {"E": 16}),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_tile_is_rejected(fault: str, device: str, force: Force, monkeypatch: pytest.MonkeyPatch) -> None:
    from einsearch.kernels.btt import launch

    kind, change = WRONG[fault]
    force(kind, "fused")
    run = launch._run

    def wrong_run(kernel: Any, grid: Any, configs: Any, arguments: Any, constants: Any) -> None:
        tile = tuple((dict(configs[0].tile) | change).items())
        wrong = choose.Config(tile=tile, warps=configs[0].warps, cost=0.0)
        run(kernel, grid, (wrong,), arguments, constants)

    monkeypatch.setattr(launch, "_run", wrong_run)
    with pytest.raises(AssertionError, match="y "):
        compare(btt, reference.btt, operands("no multiples", 5, device=device), dtype=torch.float32)


FORGETFUL = {
    "resident_product": (4, "resident", "fused"),
    "streamed_product": (4, "streamed", "fused"),
    "stage_product": (3, "staged", "fused"),
    "fused_gradient": (4, "resident", "fused"),
    "stage_gradient": (3, "resident", "staged"),
}
"""The place of the number of tokens among a kernel's arguments, and the kinds with which it runs."""


@pytest.mark.parametrize("name", FORGETFUL)
def test_a_kernel_that_forgets_the_last_token_is_rejected(
    name: str, device: str, force: Force, monkeypatch: pytest.MonkeyPatch
) -> None:
    from einsearch.kernels.btt import backward, forward, launch

    place, product, gradient = FORGETFUL[name]
    forgetful = getattr(backward if "gradient" in name else forward, name)
    force(product, gradient)
    run = launch._run

    def wrong_run(kernel: Any, grid: Any, configs: Any, arguments: Any, constants: Any) -> None:
        if kernel is forgetful:
            arguments = (*arguments[:place], arguments[place] - 1, *arguments[place + 1 :])
        run(kernel, grid, configs, arguments, constants)

    monkeypatch.setattr(launch, "_run", wrong_run)
    with pytest.raises(AssertionError, match="^gradient of a " if "gradient" in name else "^y "):
        compare(btt, reference.btt, operands("primes", 5, device=device), dtype=torch.float32)
