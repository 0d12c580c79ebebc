"""Whether an implementation computes what the reference computes; one that does not is never timed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from einsearch.errors import EinsearchError

TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 4e-2}
"""Root mean square of the error, over that of the tensor; float32 of the reference has about 1e-6."""

_WORST = 30
"""A single element may be off by so many times the tolerance, in units of the tensor's root mean square."""


def require_agreement(
    who: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float, floor: float = 0.0
) -> None:
    """Every tensor of `expected` is found, of the same shape, as near as the tolerance wants.

    floor: the least root mean square that an error is compared with. Raises EinsearchError that names `who` and the
    first tensor that differs.
    """
    if found.keys() != expected.keys():
        raise EinsearchError(f"{who} gives {', '.join(found)} instead of {', '.join(expected)}; it is not timed")
    for name, right in expected.items():
        if reason := _difference(found[name], right, tolerance, floor):
            raise EinsearchError(f"{who} computes something else than the reference: {name} {reason}; it is not timed")


def root_mean_square(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.float())) / math.sqrt(max(tensor.numel(), 1))


def _difference(left: Tensor, right: Tensor, tolerance: float, floor: float) -> str | None:
    if left.shape != right.shape:
        return f"has shape {tuple(left.shape)}, not {tuple(right.shape)}"
    error = left.float() - right.float()
    scale = max(root_mean_square(right), floor)
    off, worst = root_mean_square(error), float(error.abs().max())
    if not (math.isfinite(off) and math.isfinite(scale)):
        return "is not finite"
    if off > tolerance * scale:
        return f"is off by {off:.3g}, its root mean square is {scale:.3g}"
    if worst > _WORST * tolerance * scale:
        return f"is off by {worst:.3g} in one element, its root mean square is {scale:.3g}"
    return None
