"""Launches the kernels: packs the factors, allocates, and runs what :mod:`einsearch.kernels.btt.choose` chooses.

The kernels take the factors packed for their two roles: `first` (gamma, rho, phi, alpha) and `second` (phi,
epsilon, rho, gamma), the summed axis last. The intermediate is (tokens, rho, phi, gamma). The transposed
product has x and y, and so the factors, in each other's role: there dy is x, b is a, and dz (tokens, rho,
gamma, phi).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import triton
from torch import Tensor

from einsearch.kernels.btt import backward, forward
from einsearch.kernels.btt.choose import SHARED_MEMORY, Choice, choose_gradient, choose_product
from einsearch.kernels.btt.sizes import Sizes
from einsearch.kernels.btt.tiles import Config

SPLITS = 128
"""Programs that share a sum over tokens, at most; a constant, so that every device adds up the same parts."""

TOKENS_PER_SPLIT = 64
"""A split has a multiple of this, and this a multiple of every tile of tokens."""

PROGRAMS_PER_PROCESSOR = 2
"""Programs that stream tokens past resident factors."""

STAGES = 1
"""Triton's own pipelining is off: it takes x through shared memory in an order that is read number by number."""

Grid = Callable[[dict[str, Any]], tuple[int, int]]


def interpreted() -> bool:
    """Whether the kernels run in Triton's interpreter: TRITON_INTERPRET was 1 when they were imported."""
    return not isinstance(forward.resident_product, triton.JITFunction)


def tunes() -> bool:
    """Whether configurations are timed at their first launch: compiled, never in the interpreter."""
    return not interpreted()


def product(x: Tensor, a: Tensor, b: Tensor, sizes: Sizes) -> Tensor:
    """y (tokens, epsilon phi) of x (..., alpha gamma)."""
    if not x.numel():
        return x.new_empty(0, sizes.d_out)
    y, _ = _product(_rows(x), _pack_first(a), _pack_second(b), sizes, choose_product(sizes, **_limits(x)))
    return y


def gradients(
    dy: Tensor, x: Tensor, a: Tensor, b: Tensor, sizes: Sizes, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of x, a and b, those that are wanted, from that of y."""
    if not x.numel():
        dx, da, db = (
            torch.zeros_like(t) if is_wanted else None for t, is_wanted in zip((x, a, b), wanted, strict=True)
        )
        return dx, da, db
    limits = _limits(x)
    x, dy = _rows(x), _rows(dy)
    dx = da = db = dz = None
    if wanted[0] or wanted[1]:
        first = _pack_first(b.permute(1, 2, 0, 3))
        if wanted[0]:
            second = _pack_second(a.permute(2, 0, 1, 3))
            dx, dz = _product(dy, first, second, sizes.exchanged, choose_product(sizes.exchanged, **limits))
        if wanted[1]:
            choice = choose_gradient(sizes, given=dz is not None, **limits)
            packed = _first_gradient(x, dy, first, dz, sizes, choice)
            da = a.new_empty(a.shape).copy_(packed.permute(3, 0, 2, 1))
    if wanted[2]:
        choice = choose_gradient(sizes.exchanged, **limits)
        packed = _first_gradient(dy, x, _pack_first(a), None, sizes.exchanged, choice)
        db = b.new_empty(b.shape).copy_(packed.permute(2, 3, 0, 1))
    return dx, da, db


def _product(x: Tensor, first: Tensor, second: Tensor, sizes: Sizes, choice: Choice) -> tuple[Tensor, Tensor | None]:
    """y, and the intermediate where the choice writes it to memory."""
    if choice.kind == "staged":
        z = _first_stage(x, first, sizes, choice.launches[0])
        return _second_stage(z, second, sizes, choice.launches[1]), z
    tokens, resident = x.shape[0], choice.kind == "resident"
    y = x.new_empty(tokens, sizes.d_out)

    def grid(tile: dict[str, Any]) -> tuple[int, int]:
        slices, blocks = triton.cdiv(sizes.phi, tile["P"]), triton.cdiv(tokens, tile["N"])
        return slices, min(blocks, _streams(x, slices)) if resident else blocks

    _run(
        forward.resident_product if resident else forward.streamed_product,
        grid,
        choice.launches[0],
        (x, first, second, y, tokens, x.stride(0)),
        _by_name(sizes),
    )
    return y, None


def _first_stage(x: Tensor, first: Tensor, sizes: Sizes, configs: tuple[Config, ...]) -> Tensor:
    """z (tokens, rho, phi, gamma) of x (tokens, alpha gamma)."""
    z = x.new_empty(x.shape[0], sizes.rho, sizes.phi, sizes.gamma)
    shape = {"BATCHES": sizes.gamma, "ROWS": sizes.rho * sizes.phi, "COLUMNS": sizes.alpha}
    strides = {"INNER": sizes.alpha, "OUTER_STRIDE": 0, "INNER_STRIDE": sizes.gamma, "BATCH_STRIDE": 1}
    _stage(x, first, z, configs, shape, strides)
    return z


def _second_stage(z: Tensor, second: Tensor, sizes: Sizes, configs: tuple[Config, ...]) -> Tensor:
    """y (tokens, epsilon phi) of z (tokens, rho, phi, gamma)."""
    y = z.new_empty(z.shape[0], sizes.d_out)
    shape = {"BATCHES": sizes.phi, "ROWS": sizes.epsilon, "COLUMNS": sizes.rho * sizes.gamma}
    outer = sizes.phi * sizes.gamma
    strides = {"INNER": sizes.gamma, "OUTER_STRIDE": outer, "INNER_STRIDE": 1, "BATCH_STRIDE": sizes.gamma}
    _stage(z, second, y, configs, shape, strides)
    return y


def _stage(
    x: Tensor, factor: Tensor, y: Tensor, configs: tuple[Config, ...], shape: dict[str, int], strides: dict[str, int]
) -> None:
    tokens = x.shape[0]

    def grid(tile: dict[str, Any]) -> tuple[int, int]:
        slices = triton.cdiv(shape["BATCHES"], tile["B"]) * triton.cdiv(shape["ROWS"], tile["M"])
        return slices, min(triton.cdiv(tokens, tile["N"]), _streams(x, slices))

    _run(forward.stage_product, grid, configs, (x, factor, y, tokens, x.stride(0)), shape | strides)


def _first_gradient(
    x: Tensor, dy: Tensor, exchanged: Tensor, dz: Tensor | None, sizes: Sizes, choice: Choice
) -> Tensor:
    """The gradient of the first factor, packed (gamma, rho, phi, alpha), in float32.

    exchanged: the second factor, packed as the first of the exchanged roles. dz: the gradient of the
    intermediate where it is at hand.
    """
    tokens, configs = x.shape[0], choice.launches[-1]
    if choice.kind == "staged" and dz is None:
        dz = _first_stage(dy, exchanged, sizes.exchanged, choice.launches[0])

    def slices(tile: Config | dict[str, Any]) -> int:
        gammas = triton.cdiv(sizes.gamma, tile["G"])
        if choice.kind == "fused":
            return gammas * triton.cdiv(sizes.phi, tile["P"]) * sizes.rho
        return gammas * triton.cdiv(sizes.rho * sizes.phi, tile["M"]) * triton.cdiv(sizes.alpha, tile["A"])

    # From the default configuration, so that a tuned one adds up the same parts.
    at_most = max(1, min(SPLITS // slices(configs[0]), triton.cdiv(tokens, TOKENS_PER_SPLIT)))
    per_split = triton.cdiv(triton.cdiv(tokens, at_most), TOKENS_PER_SPLIT) * TOKENS_PER_SPLIT
    splits = triton.cdiv(tokens, per_split)
    shape = (splits, sizes.gamma, sizes.rho, sizes.phi, sizes.alpha)
    partial = torch.empty(shape, dtype=torch.float32, device=x.device)

    def grid(tile: dict[str, Any]) -> tuple[int, int]:
        return slices(tile), splits

    if choice.kind == "fused":
        arguments = (x, dy, exchanged, partial, tokens, x.stride(0), dy.stride(0), per_split)
        _run(backward.fused_gradient, grid, configs, arguments, _by_name(sizes))
    else:
        constants = {name: size for name, size in _by_name(sizes).items() if name != "EPSILON"}
        _run(backward.stage_gradient, grid, configs, (x, dz, partial, tokens, x.stride(0), per_split), constants)
    return partial.sum(0)


def _run(
    kernel: Any, grid: Grid, configs: tuple[Config, ...], arguments: tuple[Any, ...], constants: dict[str, int]
) -> None:
    """Launch the fastest configuration where they are timed, else the first."""
    x: Tensor = arguments[0]
    fixed = {**constants, "PRECISION": _precision(x.dtype)}
    with torch.cuda.device_of(x):
        if len(configs) == 1 or not tunes():
            config = configs[0]
            kernel[grid](*arguments, **fixed, **_meta(config), num_warps=config.warps, num_stages=STAGES)
        else:
            bucket = x.shape[0].bit_length()
            tuned(kernel, configs, tuple(fixed.items()), bucket, x.dtype, x.device)[grid](*arguments, **fixed)


@cache
def tuned(kernel: Any, configs: tuple[Config, ...], *_key: Any) -> Any:
    """The kernel, which times the configurations at its first launch and keeps to the fastest."""
    return triton.autotune(
        configs=[triton.Config(_meta(config), num_warps=config.warps, num_stages=STAGES) for config in configs],
        key=[],
    )(kernel)


def _meta(config: Config) -> dict[str, int]:
    return {**dict(config.tile), "WARPS": config.warps}


def _pack_first(a: Tensor) -> Tensor:
    """(gamma, rho, phi, alpha) of (alpha, gamma, phi, rho)."""
    return a.permute(1, 3, 2, 0).contiguous()


def _pack_second(b: Tensor) -> Tensor:
    """(phi, epsilon, rho, gamma) of (gamma, epsilon, phi, rho)."""
    return b.permute(2, 1, 3, 0).contiguous()


def _rows(x: Tensor) -> Tensor:
    """(tokens, d), the numbers of a row side by side, rows any distance apart."""
    x = x.reshape(-1, x.shape[-1])
    return x if x.stride(1) == 1 else x.contiguous()


def _by_name(sizes: Sizes) -> dict[str, int]:
    return {
        "ALPHA": sizes.alpha,
        "GAMMA": sizes.gamma,
        "EPSILON": sizes.epsilon,
        "PHI": sizes.phi,
        "RHO": sizes.rho,
    }


def _precision(dtype: torch.dtype) -> str:
    """Of float32 products, as torch's own have it on a GPU; a product of numbers of 16 bits is exact in float32."""
    return "ieee" if dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision != "tf32" else "tf32"


def _limits(x: Tensor) -> dict[str, int]:
    return {"itemsize": x.element_size(), "shared_memory": _shared_memory_and_processors(x.device)[0]}


def _streams(x: Tensor, slices: int) -> int:
    """Programs for each slice of the factors that fill the device."""
    return triton.cdiv(PROGRAMS_PER_PROCESSOR * _shared_memory_and_processors(x.device)[1], slices)


@cache
def _shared_memory_and_processors(device: torch.device) -> tuple[int, int]:
    if device.type == "cpu":  # the interpreter, which gets one processor so that its programs stream tokens too
        return SHARED_MEMORY, 1
    properties = triton.runtime.driver.active.utils.get_device_properties(device.index)
    return properties["max_shared_mem"], properties["multiprocessor_count"]
