"""The ways to compute a mixture of einsum experts, by the name that is recorded with a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from einsearch.errors import EinsearchError
from einsearch.kernels.btt.match import matches
from einsearch.kernels.btt_moe.triton import btt_moe, unavailable_because
from einsearch.kernels.einsum.reference import einsum_linear
from einsearch.kernels.einsum_moe import grouped, reference
from einsearch.kernels.einsum_moe.reference import Expert, linear_experts
from einsearch.layers.implementations import apply, is_no_btt
from einsearch.space.operator import Operator

MERGED_UP_TO = 128 * 128
"""Entries of an expert's dense matrix up to which `auto` merges on a CPU; see kernels/einsum_moe/README.md."""

Layer = Callable[[Tensor, Sequence[Tensor], Operator, Tensor, Tensor], Tensor]
"""As :func:`einsearch.kernels.einsum_moe.reference.einsum_moe`."""

WeightedSum = Callable[[Tensor, Tensor, Tensor, Sequence[Expert], int], Tensor]
"""As :func:`einsearch.kernels.einsum_moe.reference.weighted_sum`."""


def _anything(operator: Operator, device: torch.device, dtype: torch.dtype) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """One way: a kernel for a whole layer, or the products of all experts and a sum of what they return.

    The second serves experts that are FFNs too. refuses: why it cannot compute an operator on a device in
    a dtype, or None where it can.
    """

    layer: Layer | None = None
    experts: Callable[[Sequence[Tensor], Operator], list[Expert]] | None = None
    weighted_sum: WeightedSum = grouped.weighted_sum
    refuses: Callable[[Operator, torch.device, torch.dtype], str | None] = _anything


def _feature_major(rows: Tensor, factors: Sequence[Tensor], operator: Operator) -> Tensor:
    return apply("feature-major", rows, factors, operator, "row-major")


def _triton(x: Tensor, factors: Sequence[Tensor], operator: Operator, gate: Tensor, expert: Tensor) -> Tensor:
    match = matches(operator)
    assert match is not None
    a, b = match.factors(factors, factors[0].shape[:1])
    return btt_moe(x, a, b, gate, expert)


def _triton_refuses(operator: Operator, device: torch.device, dtype: torch.dtype) -> str | None:
    return unavailable_because(device, dtype) or (None if matches(operator) else is_no_btt(operator))


IMPLEMENTATIONS: dict[str, Implementation] = {
    "reference": Implementation(
        experts=partial(linear_experts, product=einsum_linear), weighted_sum=reference.weighted_sum
    ),
    "grouped": Implementation(experts=partial(linear_experts, product=einsum_linear)),
    "feature-major": Implementation(experts=partial(linear_experts, product=_feature_major)),
    "merged": Implementation(experts=grouped.merged_experts),
    "triton": Implementation(layer=_triton, refuses=_triton_refuses),
}


def require_implementation(name: str) -> None:
    """EinsearchError for a name that is neither `auto` nor an implementation."""
    if name != "auto" and name not in IMPLEMENTATIONS:
        known = ", ".join(("auto", *IMPLEMENTATIONS))
        raise EinsearchError(f"unknown implementation {name!r} of a mixture; known: {known}")


def implementation_on(name: str, device: torch.device, operators: Sequence[Operator]) -> str:
    """The implementation that computes operators on a device: `auto` goes by device and sizes, never by timing."""
    if name != "auto":
        return name
    if device.type != "cpu":
        return "grouped"
    if all(operator.einsum.factors == 1 or _is_small(operator) for operator in operators):
        return "merged"
    blocks = any(step.batch for operator in operators for step in operator.plan.steps)
    return "feature-major" if blocks else "grouped"


def _is_small(operator: Operator) -> bool:
    return operator.sizes.padded_in * operator.sizes.padded_out <= MERGED_UP_TO


def layer_product(name: str, operator: Operator, device: torch.device, dtype: torch.dtype) -> Layer:
    """The weighted sum of einsum experts. Raises EinsearchError where the implementation cannot compute it."""
    chosen = _allowed(name, operator, device, dtype)
    if chosen.layer is not None:
        return chosen.layer
    prepared = chosen.experts
    assert prepared is not None

    def product(x: Tensor, factors: Sequence[Tensor], operator: Operator, gate: Tensor, expert: Tensor) -> Tensor:
        return chosen.weighted_sum(x, gate, expert, prepared(factors, operator), operator.sizes.padded_out)

    return product


def expert_products(
    name: str, factors: Sequence[Tensor], operator: Operator, device: torch.device, dtype: torch.dtype
) -> list[Expert]:
    """The operator of each expert, where experts do more. Raises EinsearchError where that cannot be had."""
    chosen = _allowed(name, operator, device, dtype)
    if chosen.experts is None:
        others = ", ".join(("auto", *(n for n, each in IMPLEMENTATIONS.items() if each.experts is not None)))
        raise EinsearchError(f"implementation {name} computes single layers, not experts that are FFNs; use {others}")
    return chosen.experts(factors, operator)


def _allowed(name: str, operator: Operator, device: torch.device, dtype: torch.dtype) -> Implementation:
    chosen = IMPLEMENTATIONS[name]
    if reason := chosen.refuses(operator, device, dtype):
        raise EinsearchError(f"implementation {name} cannot run: {reason}; use auto or another one")
    return chosen
