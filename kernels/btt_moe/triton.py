"""A mixture of experts over Block Tensor-Trains that computes the chosen experts only, by Triton kernels.

Two operators of torch, so that autograd, torch.compile and FLOP counters know them; the kernels, and Triton, are
imported when the first of them runs.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from einsearch.errors import EinsearchError
from einsearch.kernels.btt_moe.direction import Direction, pack_a, pack_b, unpack_a, unpack_b
from einsearch.kernels.btt_moe.dispatch import Routing, sort_pairs
from einsearch.kernels.btt_moe.launch import runner_for

if TYPE_CHECKING:
    from einsearch.kernels.btt_moe.run import Mixture

Size = Sequence[int]
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
OLDEST = (8, 0)
"""Compute capability from which on the kernels run: bfloat16 on tensor cores, asynchronous copies."""


def unavailable_because(device: torch.device | str, dtype: torch.dtype) -> str | None:
    """Why the kernels cannot run with operands of this device and dtype, in one line with the remedy, or None.

    They run on CUDA devices of compute capability 8.0 and newer, and on a CPU in Triton's interpreter, which is slow
    and for tests: where TRITON_INTERPRET was 1 when they were imported.
    """
    device = torch.device(device)
    if dtype not in DTYPES:
        return f"the btt_moe kernel takes bfloat16, float16 or float32, not {dtype}; convert, or use the reference"
    if device.type not in ("cuda", "cpu"):
        return f"the btt_moe kernel runs on a CUDA device, not on {device.type}; use the reference"
    if device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        return (
            "the btt_moe kernel runs on a CUDA device, and on a CPU only in Triton's interpreter, for tests: "
            "use the reference, or set TRITON_INTERPRET=1"
        )
    if importlib.util.find_spec("triton") is None:
        return "the btt_moe kernel needs Triton, which is not installed; pip install triton"
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability < OLDEST:
            return (
                f"the btt_moe kernel needs compute capability {OLDEST[0]}.{OLDEST[1]}, and "
                f"{torch.cuda.get_device_name(device)} has {capability[0]}.{capability[1]}; use the reference"
            )
        return None
    if dtype == torch.bfloat16:
        return "Triton's interpreter computes bfloat16 products wrongly; use float16 or float32 there"
    import triton

    from einsearch.kernels.btt_moe.product import fused_product

    if isinstance(fused_product, triton.JITFunction):
        return "TRITON_INTERPRET=1 was set after the btt_moe kernel was imported; set it before Python starts"
    return None


def btt_moe(x: Tensor, a: Tensor, b: Tensor, gate: Tensor, expert: Tensor) -> Tensor:
    """y[n] = sum over j of gate[n, j] * BTT(x[n]; A[expert[n, j]], B[expert[n, j]]), the chosen experts only.

    x: (..., alpha * gamma); a: (experts, alpha, gamma, phi, rho); b: (experts, gamma, epsilon, phi, rho);
    gate and expert: (..., active), expert of int64 in [0, experts), which is not checked, as that would wait for the
    device. Returns (..., epsilon * phi), of the dtype of x; under autocast x, a and b are converted to its dtype.
    Differentiable once in x, a, b and gate. Sums are in float32 and in a fixed order: results repeat bit for bit.

    Raises EinsearchError for shapes or dtypes that do not fit, and where `unavailable_because` gives a reason.
    """
    _check(x, a, b, gate, expert)
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        x, a, b = x.to(dtype), a.to(dtype), b.to(dtype)
    elif not x.dtype == a.dtype == b.dtype:
        raise EinsearchError(f"x, a and b have dtypes {x.dtype}, {a.dtype}, {b.dtype}, not one; convert them to one")
    active = gate.shape[-1]
    order, offsets = sort_pairs(expert, a.shape[0])
    y: Tensor = torch.ops.einsearch.btt_moe(x.reshape(-1, x.shape[-1]), a, b, gate.reshape(-1, active), order, offsets)
    return y.reshape(*x.shape[:-1], y.shape[-1])


def _check(x: Tensor, a: Tensor, b: Tensor, gate: Tensor, expert: Tensor) -> None:
    """Raise EinsearchError unless the shapes fit one another, experts are int64 and everything is on one device."""
    shapes = {"a": tuple(a.shape), "b": tuple(b.shape)}
    if len(shapes["a"]) != 5 or len(shapes["b"]) != 5:
        raise EinsearchError(
            f"a has shape {shapes['a']} and b {shapes['b']}; they must be (experts, alpha, gamma, phi, rho) and "
            "(experts, gamma, epsilon, phi, rho)"
        )
    experts, alpha, gamma, phi, rho = a.shape
    epsilon = b.shape[2]
    if tuple(b.shape) != (experts, gamma, epsilon, phi, rho):
        raise EinsearchError(
            f"b has shape {shapes['b']}, which does not fit a of shape {shapes['a']}: it must be "
            f"({experts}, {gamma}, epsilon, {phi}, {rho}), the same experts, gamma, phi and rho"
        )
    if 0 in shapes["a"] + shapes["b"]:
        raise EinsearchError(f"a has shape {shapes['a']} and b {shapes['b']}: every size must be at least 1")
    if x.ndim == 0 or x.shape[-1] != alpha * gamma:
        raise EinsearchError(
            f"x has shape {tuple(x.shape)}; its last size must be alpha * gamma = {alpha} * {gamma} = {alpha * gamma}"
        )
    if gate.shape != expert.shape or gate.shape[:-1] != x.shape[:-1] or gate.ndim != x.ndim:
        raise EinsearchError(
            f"gate has shape {tuple(gate.shape)} and expert {tuple(expert.shape)}; both must be "
            f"({', '.join(map(str, [*x.shape[:-1], 'active']))}), one row for each of x"
        )
    if not 1 <= gate.shape[-1] <= experts:
        raise EinsearchError(
            f"{gate.shape[-1]} active experts of {experts}; the last size of gate must be 1 to {experts}"
        )
    if expert.dtype != torch.int64 or not gate.is_floating_point():
        raise EinsearchError(f"expert has dtype {expert.dtype} and gate {gate.dtype}; they must be int64 and floating")
    devices = {str(tensor.device) for tensor in (x, a, b, gate, expert)}
    if len(devices) > 1:
        raise EinsearchError(f"tensors on {', '.join(sorted(devices))}; move them to one device")


def _check_available(x: Tensor) -> None:
    reason = unavailable_because(x.device, x.dtype)
    if reason is not None:
        raise EinsearchError(reason)


@torch.library.custom_op("einsearch::btt_moe", mutates_args=())
def _btt_moe(x: Tensor, a: Tensor, b: Tensor, gate: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    """y: (tokens, epsilon * phi) of x: (tokens, alpha * gamma), gate: (tokens, active), and the sorted pairs."""
    _check_available(x)
    return run_forward(x, a, b, gate, order, offsets)


def run_forward(x: Tensor, a: Tensor, b: Tensor, gate: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    mixture = _mixture(x, a, b, gate, order, offsets)
    if not x.shape[0]:
        return x.new_empty(0, mixture.direction.target)
    return mixture.product(_rows(x), pack_a(a), pack_b(b)).target


@_btt_moe.register_fake
def _(x: Tensor, a: Tensor, b: Tensor, gate: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], b.shape[2] * b.shape[3])


@torch.library.custom_op("einsearch::btt_moe_backward", mutates_args=())
def _btt_moe_backward(
    dy: Tensor, x: Tensor, a: Tensor, b: Tensor, gate: Tensor, order: Tensor, offsets: Tensor, wanted: Sequence[bool]
) -> list[Tensor]:
    """The wanted ones of the gradients of x, a, b and gate."""
    _check_available(x)
    return run_backward(dy, x, a, b, gate, order, offsets, wanted)


def run_backward(
    dy: Tensor, x: Tensor, a: Tensor, b: Tensor, gate: Tensor, order: Tensor, offsets: Tensor, wanted: Sequence[bool]
) -> list[Tensor]:
    inputs = (x, a, b, gate)
    if not x.shape[0]:
        return [tensor.new_zeros(tensor.shape) for tensor, is_wanted in zip(inputs, wanted, strict=True) if is_wanted]
    mixture = _mixture(x, a, b, gate, order, offsets)
    x, dy, a, b = _rows(x), _rows(dy), pack_a(a), pack_b(b)
    middle = None
    found: list[Tensor | None] = [None] * 4
    if wanted[0] or wanted[3]:
        back = mixture.reversed().product(dy, b, a, probe=x if wanted[3] else None)
        middle = back.middle
        found[0] = back.target
        found[3] = None if back.dots is None else back.dots.to(gate.dtype)
    if wanted[1]:
        found[1] = unpack_a(mixture.first_gradient(x, dy, b, middle, like=a))
    if wanted[2]:
        found[2] = unpack_b(mixture.reversed().first_gradient(dy, x, a, None, like=b))
    return [gradient for gradient, is_wanted in zip(found, wanted, strict=True) if is_wanted and gradient is not None]


@_btt_moe_backward.register_fake
def _(
    dy: Tensor, x: Tensor, a: Tensor, b: Tensor, gate: Tensor, order: Tensor, offsets: Tensor, wanted: Sequence[bool]
) -> list[Tensor]:
    return [
        tensor.new_empty(tensor.shape) for tensor, is_wanted in zip((x, a, b, gate), wanted, strict=True) if is_wanted
    ]


def _mixture(x: Tensor, a: Tensor, b: Tensor, gate: Tensor, order: Tensor, offsets: Tensor) -> Mixture:
    from einsearch.kernels.btt_moe.run import Mixture

    return Mixture(
        direction=Direction.of(a, b),
        routing=Routing(gate=gate.contiguous(), order=order, offsets=offsets),
        runner=runner_for(x.device),
        dtype=x.dtype,
    )


def _rows(x: Tensor) -> Tensor:
    """The numbers of a row side by side, rows any distance apart."""
    return x if x.stride(1) == 1 else x.contiguous()


def _setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    wanted = list(ctx.needs_input_grad[:4])
    found = iter(torch.ops.einsearch.btt_moe_backward(dy, *ctx.saved_tensors, wanted))
    return (*(next(found) if is_wanted else None for is_wanted in wanted), None, None)


_btt_moe.register_autograd(_backward, setup_context=_setup_context)


@register_flop_formula(torch.ops.einsearch.btt_moe)
def _flops(x: Size, a: Size, b: Size, gate: Size, *_: Any, **__: Any) -> int:
    """2 FLOPs a MAC; a token has, in each of its active experts, a MAC for every number of the two factors."""
    return 2 * math.prod(gate) * (math.prod(a[1:]) + math.prod(b[1:]))


@register_flop_formula(torch.ops.einsearch.btt_moe_backward)
def _backward_flops(
    dy: Size,
    x: Size,
    a: Size,
    b: Size,
    gate: Size,
    order: Size,
    offsets: Size,
    wanted: Sequence[bool],
    *_: Any,
    **__: Any,
) -> int:
    """Of the products by definition: two for x, and so for the gates, one for each factor.

    What is computed again is not counted.
    """
    first, second = math.prod(a[1:]), math.prod(b[1:])
    macs = (first + second) * (wanted[0] or wanted[3]) + first * wanted[1] + second * wanted[2]
    return 2 * math.prod(gate) * macs
