"""Kernels of a given kind, whatever they cost, and memory around tensors that a kernel must not touch."""

import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from einsearch.kernels.btt_moe import choose, launch, tiles
from einsearch.kernels.btt_moe import triton as operators
from einsearch.kernels.btt_moe.launch import Launch, Runner
from einsearch.kernels.btt_moe.tiles import Tile

Force = Callable[[str], None]

KINDS = {
    "resident": {"fused_products": lambda tile: tile.streams},
    "streamed": {"fused_products": lambda tile: not tile.streams},
    "staged": {"fused_products": None, "fused_gradients": None},
    "staged, streamed": {
        "fused_products": None,
        "fused_gradients": None,
        "stage_products": lambda tile: not tile.streams,
    },
    "one program a sum": {},
    "staged, one program a sum": {"fused_products": None, "fused_gradients": None},
}
"""By the functions of `tiles`, what they may offer; None for nothing."""


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Iterator[Force]:
    """Call it with a kind; where none of it fits, the others stay."""

    def of(name: str, wanted: Callable[[Tile], bool] | None) -> Callable[..., list[Tile]]:
        original = getattr(tiles, name)

        def offered(*arguments: object, **named: object) -> list[Tile]:
            found = list(original(*arguments, **named))
            return [] if wanted is None else list(filter(wanted, found)) or found

        return offered

    def forced(kind: str) -> None:
        for name, wanted in KINDS[kind].items():
            monkeypatch.setattr(tiles, name, of(name, wanted))
        if "one program a sum" in kind:
            monkeypatch.setattr(choose, "PROGRAMS", {"product": 1, "gradient": 1})
        forget()

    def forget() -> None:
        choose.choose_product.cache_clear()
        choose.choose_gradient.cache_clear()

    yield forced
    monkeypatch.undo()
    forget()


GUARD = 1024
"""Numbers before and after a tensor."""


def run_guarded(launched: Launch) -> None:
    """Run a launch on copies between numbers that are none; fail if one of these was written.

    A kernel that reads one finds it in its results.
    """
    flat: dict[int, Tensor] = {}
    for tensor in launched.arguments.values():
        if isinstance(tensor, Tensor) and id(tensor) not in flat:
            reach = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
            nothing = float("nan") if tensor.is_floating_point() else -(2**30)
            flat[id(tensor)] = torch.full((reach + 2 * GUARD,), nothing, dtype=tensor.dtype, device=tensor.device)
            view(flat, tensor).copy_(tensor)
    arguments = {name: view(flat, t) if isinstance(t, Tensor) else t for name, t in launched.arguments.items()}
    launch.run_on_its_device(dataclasses.replace(launched, arguments=arguments))
    for name, tensor in launched.arguments.items():
        if isinstance(tensor, Tensor):
            around = torch.cat([flat[id(tensor)][:GUARD], flat[id(tensor)][-GUARD:]])
            untouched = around.isnan() if tensor.is_floating_point() else around == -(2**30)
            assert untouched.all(), f"{launched.kernel.__name__} writes outside {name}"
            tensor.copy_(view(flat, tensor))


def view(flat: dict[int, Tensor], tensor: Tensor) -> Tensor:
    return flat[id(tensor)].as_strided(tensor.shape, tensor.stride(), GUARD)


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every launch of the test is `run_guarded`."""
    shared = launch.SHARED_MEMORY
    monkeypatch.setattr(operators, "runner_for", lambda device: Runner(shared=shared, run=run_guarded))
