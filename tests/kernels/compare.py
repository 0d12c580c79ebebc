"""A fast kernel against its reference in float64: outputs and gradients of every input, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Function = Callable[..., "Tensor | Mapping[str, Tensor]"]
"""Called with the inputs by name; returns its output, which is then named `y`, or outputs by name."""

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest error of an element, in units of the root mean square of the tensor that it is part of."""


def draw(*shape: int, seed: int, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Tensor:
    """Normal values rounded to multiples of 1/32 within 4: float16 and bfloat16 hold them exactly too.

    So a kernel in low precision and its reference in float64 compute with the very same numbers. A
    gradient is wanted of what it returns.
    """
    generator = torch.Generator().manual_seed(seed)
    values = (torch.randn(shape, generator=generator, dtype=torch.float64) * 32).round().clamp(-128, 128) / 32
    return values.to(device, dtype).requires_grad_()


def outputs_and_gradients(
    function: Function, inputs: Mapping[str, Tensor], *, dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """The outputs of `function(**inputs)` by name, and `gradient of NAME` of every input that wants one.

    `dtype`: what the floating inputs are converted to first (strides are kept); default: left as they
    are. What is differentiated is the sum of the outputs, each times a :func:`draw` of its own.
    """
    given = {}
    for name, tensor in inputs.items():
        floating = tensor.is_floating_point()
        copy = tensor.detach() if dtype is None or not floating else tensor.detach().to(dtype)
        given[name] = copy.requires_grad_(tensor.requires_grad)
    found = function(**given)
    outputs = {"y": found} if isinstance(found, Tensor) else dict(found)
    differentiable = {name: output for name, output in outputs.items() if output.requires_grad}
    upstream = [
        draw(*output.shape, seed=1000 + n, dtype=output.dtype, device=str(output.device)).detach()
        for n, output in enumerate(differentiable.values())
    ]
    wanted = {name: tensor for name, tensor in given.items() if tensor.requires_grad}
    gradients: tuple[Tensor | None, ...] = ()
    if wanted:
        gradients = torch.autograd.grad(
            list(differentiable.values()), list(wanted.values()), upstream, allow_unused=True
        )
    for name, gradient in zip(wanted, gradients, strict=True):
        assert gradient is not None, f"gradient of {name} is missing: the function does not depend on {name}"
        outputs[f"gradient of {name}"] = gradient
    return {name: output.detach() for name, output in outputs.items()}


def assert_close(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, tolerance: float) -> None:
    """Every tensor of `expected` is in `actual`, of the same shape, finite, and within the tolerance.

    An element may be off by `tolerance` times the root mean square of the expected tensor, wherever it
    is: one wrong row or column fails as the whole tensor does. Raises AssertionError that names every
    tensor that fails, with its error and the place of the worst element.
    """
    assert actual.keys() == expected.keys(), f"{sorted(actual)} instead of {sorted(expected)}"
    failed = []
    for name, right in expected.items():
        left = actual[name]
        if left.shape != right.shape:
            failed.append(f"{name} has shape {tuple(left.shape)}, not {tuple(right.shape)}")
            continue
        if not right.numel():
            continue
        left, right = left.double().cpu(), right.double().cpu()
        if not left.isfinite().all():
            failed.append(f"{name} has {int((~left.isfinite()).sum())} of {left.numel()} elements that are not finite")
            continue
        error = (left - right).abs()
        scale = math.sqrt(right.square().mean().item())
        if error.max().item() > tolerance * scale:
            worst = tuple(int(n) for n in torch.unravel_index(error.argmax(), error.shape))
            failed.append(
                f"{name} is off by {error.max().item():.3g} at {worst}: {left[worst].item():.6g} instead of "
                f"{right[worst].item():.6g}; {tolerance:.3g} times its root mean square {scale:.3g} is allowed"
            )
    assert not failed, "; ".join(failed)


def compare(
    kernel: Function,
    reference: Function,
    inputs: Mapping[str, Tensor],
    *,
    dtype: torch.dtype,
    tolerance: float | None = None,
) -> None:
    """`kernel` at inputs of `dtype` against `reference` at the same numbers in float64.

    The inputs should come from :func:`draw`. The outputs and gradients of the kernel must be finite, of
    the dtype of the inputs, and as near as :func:`assert_close` wants with `tolerance`, by default that
    of the dtype in TOLERANCE.
    """
    actual = outputs_and_gradients(kernel, inputs, dtype=dtype)
    expected = outputs_and_gradients(reference, inputs, dtype=torch.float64)
    dtypes = {name: tensor.dtype for name, tensor in actual.items() if tensor.is_floating_point()}
    assert set(dtypes.values()) <= {dtype}, f"dtypes {dtypes}, not all {dtype}"
    assert_close(actual, expected, tolerance=TOLERANCE[dtype] if tolerance is None else tolerance)
