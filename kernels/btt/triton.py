"""The Block Tensor-Train product as a torch operator, computed by the Triton kernels, forward and backward."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from einsearch.errors import EinsearchError
from einsearch.kernels.btt.sizes import Sizes

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
OLDEST = (8, 0)
"""Compute capability from which on the kernels run: bfloat16 on tensor cores, asynchronous copies."""


def btt(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """y[e f] = sum over g r of b[g e f r] sum over a of a[a g f r] x[a g], for every row of x.

    x: (..., alpha gamma), gamma varying fastest; a: (alpha, gamma, phi, rho); b: (gamma, epsilon, phi,
    rho). Returns (..., epsilon phi), phi varying fastest. Operands are of one dtype, bfloat16, float16 or
    float32 (under autocast they are cast to its dtype); sums and the gradients' sums over tokens are
    float32, the intermediate is rounded to the operands' dtype. Differentiable once in x, a and b.

    Raises EinsearchError for shapes that do not fit, and where the kernel cannot run
    (:func:`unavailable_because`).
    """
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, a, b = x.to(dtype), a.to(dtype), b.to(dtype)
    y: Tensor = torch.ops.einsearch.btt(x, a, b)
    return y


def unavailable_because(device: torch.device | str, dtype: torch.dtype) -> str | None:
    """Why the kernels cannot run with operands of this device and dtype, in one line, or None."""
    device = torch.device(device)
    if dtype not in DTYPES:
        known = ", ".join(_name(known) for known in DTYPES)
        return f"the btt kernel takes {known}, not {_name(dtype)}; convert, or use another implementation"
    if device.type not in ("cuda", "cpu"):
        return f"the btt kernel runs on a CUDA device, not on {device.type}; use another implementation"
    if device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        return (
            "the btt kernel runs on a CUDA device, and on a CPU only in Triton's interpreter, for tests: "
            "use another implementation, or set TRITON_INTERPRET=1"
        )
    if importlib.util.find_spec("triton") is None:
        return "the btt kernel needs Triton, which is not installed; pip install triton"
    if device.type == "cuda":
        if not torch.cuda.is_available():
            return "the btt kernel runs on a CUDA device, and there is none; use another implementation"
        capability = torch.cuda.get_device_capability(device)
        if capability < OLDEST:
            has, needs = (".".join(map(str, version)) for version in (capability, OLDEST))
            return f"the btt kernel needs compute capability {needs}, {device} has {has}; use another implementation"
        return None
    if dtype == torch.bfloat16:
        return "Triton's interpreter computes bfloat16 products wrongly; use float16 or float32 there"
    from einsearch.kernels.btt import launch

    if not launch.interpreted():
        return "TRITON_INTERPRET=1 was set after the btt kernel was imported; set it before Python starts"
    return None


@torch.library.custom_op("einsearch::btt", mutates_args=())
def _btt(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    sizes = _checked(x, a, b)
    _check_available(x)
    from einsearch.kernels.btt import launch

    return launch.product(x, a, b, sizes).view(*x.shape[:-1], sizes.d_out)


@_btt.register_fake
def _(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], _checked(x, a, b).d_out)


@torch.library.custom_op("einsearch::btt_backward", mutates_args=())
def _btt_backward(dy: Tensor, x: Tensor, a: Tensor, b: Tensor, wanted: Sequence[bool]) -> list[Tensor]:
    """The wanted ones of the gradients of x, a and b."""
    sizes = _checked(x, a, b)
    _check_available(x)
    from einsearch.kernels.btt import launch

    dx, da, db = launch.gradients(dy, x, a, b, sizes, (wanted[0], wanted[1], wanted[2]))
    return [gradient for gradient in (None if dx is None else dx.view(x.shape), da, db) if gradient is not None]


@_btt_backward.register_fake
def _(dy: Tensor, x: Tensor, a: Tensor, b: Tensor, wanted: Sequence[bool]) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor, is_wanted in zip((x, a, b), wanted, strict=True) if is_wanted]


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    wanted = list(ctx.needs_input_grad)
    found = iter(torch.ops.einsearch.btt_backward(dy, *ctx.saved_tensors, wanted))
    return tuple(next(found) if is_wanted else None for is_wanted in wanted)


_btt.register_autograd(_backward, setup_context=_setup_context)


@register_flop_formula(torch.ops.einsearch.btt)
def _flops(x: Sequence[int], a: Sequence[int], b: Sequence[int], *_: Any, **__: Any) -> int:
    """2 FLOPs a MAC of both stages."""
    sizes = Sizes.of(x, a, b)
    return 2 * math.prod(x[:-1]) * (sizes.first_macs + sizes.second_macs)


@register_flop_formula(torch.ops.einsearch.btt_backward)
def _backward_flops(
    dy: Sequence[int], x: Sequence[int], a: Sequence[int], b: Sequence[int], wanted: Sequence[bool], *_: Any, **__: Any
) -> int:
    """Of the products by definition: two for x, one for each factor. What is computed again is not counted."""
    sizes = Sizes.of(x, a, b)
    first, second = sizes.first_macs, sizes.second_macs
    macs = sum(n for n, is_wanted in zip((first + second, first, second), wanted, strict=True) if is_wanted)
    return 2 * math.prod(x[:-1]) * macs


def _checked(x: Tensor, a: Tensor, b: Tensor) -> Sizes:
    if not x.dtype == a.dtype == b.dtype:
        raise EinsearchError(
            f"x is {_name(x.dtype)}, a {_name(a.dtype)}, b {_name(b.dtype)}; "
            "the btt kernel takes one dtype: convert, or use autocast"
        )
    if not x.device == a.device == b.device:
        raise EinsearchError(f"x is on {x.device}, a on {a.device}, b on {b.device}; move them to one device")
    return Sizes.of(x.shape, a.shape, b.shape)


def _check_available(x: Tensor) -> None:
    reason = unavailable_because(x.device, x.dtype)
    if reason is not None:
        raise EinsearchError(reason)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
