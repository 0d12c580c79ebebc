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
Offered = Callable[[list[Tile]], list[Tile]]


def nothing(found: list[Tile]) -> list[Tile]:
    return []


def dear(found: list[Tile]) -> list[Tile]:
    return [dataclasses.replace(tile, cost=float("inf")) for tile in found]


def once(found: list[Tile]) -> list[Tile]:
    return [tile for tile in found if tile.streams]


def again(found: list[Tile]) -> list[Tile]:
    return [tile for tile in found if not tile.streams]


FUSED = {"stage_products": dear, "stage_gradients": dear}
STAGED = {"fused_products": nothing, "fused_gradients": nothing}

KINDS: dict[str, dict[str, Offered]] = {
    "resident": {**FUSED, "fused_products": once},
    "streamed": {**FUSED, "fused_products": again},
    "staged": {**STAGED, "stage_products": once},
    "staged, streamed": {**STAGED, "stage_products": lambda found: again(found) or found},
    "one program a sum": FUSED,
    "staged, one program a sum": STAGED,
}
"""By the functions of `tiles`, what becomes of the tiles that they offer."""


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Iterator[Force]:
    """Call it with a kind. Every tile then fits: the tests' sizes are small."""

    def of(name: str, offered: Offered) -> Callable[..., list[Tile]]:
        original = getattr(tiles, name)
        return lambda *arguments, **named: offered(list(original(*arguments, **named)))

    def forced(kind: str) -> None:
        monkeypatch.setattr(tiles.Limits, "fit", lambda *_, **__: True)
        for name, offered in KINDS[kind].items():
            monkeypatch.setattr(tiles, name, of(name, offered))
        if "one program a sum" in kind:
            from einsearch.kernels.btt_moe import run

            monkeypatch.setattr(run, "chunk", lambda tile, pairs, work: tiles.power_of_two(pairs))
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
def guarded(monkeypatch: pytest.MonkeyPatch) -> list[Launch]:
    """The launches of the test so far, each of which was `run_guarded`."""
    found: list[Launch] = []

    def run(launched: Launch) -> None:
        found.append(launched)
        run_guarded(launched)

    shared = launch.SHARED_MEMORY
    monkeypatch.setattr(operators, "runner_for", lambda device: Runner(shared=shared, run=run))
    return found
