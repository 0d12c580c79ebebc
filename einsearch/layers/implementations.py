"""The ways to compute an einsum linear operator, by the name that is recorded with a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from einsearch.errors import EinsearchError
from einsearch.kernels.btt.match import Match, matches
from einsearch.kernels.btt.triton import btt, unavailable_because
from einsearch.kernels.einsum import feature_major, merged, reference
from einsearch.kernels.transpose.contiguous import transposed
from einsearch.space.operator import Operator

Activations = Literal["row-major", "feature-major"]
"""How activations lie: (tokens, features), or (features, tokens)."""

Product = Callable[[Tensor, Sequence[Tensor], Any], Tensor]
"""The activations, the factors, and what the implementation's `prepare` made of the operator."""


def _itself(operator: Operator) -> Operator:
    return operator


def _anywhere(operator: Operator, device: torch.device, dtype: torch.dtype) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """One way, on the activations that it is made for; others are transposed before and after.

    row_major: (..., padded_in) -> (..., padded_out). feature_major: (padded_in, tokens) -> (padded_out, tokens).
    prepare: what the products need of an operator, made once: under torch.compile nothing is planned.
    refuses: why it cannot compute an operator on a device in a dtype, or None where it can.
    """

    row_major: Product | None = None
    feature_major: Product | None = None
    prepare: Callable[[Operator], Any] = _itself
    refuses: Callable[[Operator, torch.device, torch.dtype], str | None] = _anywhere


def is_no_btt(operator: Operator) -> str:
    """Why the btt kernels cannot compute an operator that does not match."""
    return f"the btt kernels compute Block Tensor-Trains of two factors, not {operator.einsum}"


def _matched(operator: Operator) -> Match | str:
    """The roles of a BTT's factors, or why there are none."""
    return matches(operator) or is_no_btt(operator)


def _triton(x: Tensor, factors: Sequence[Tensor], match: Match | str) -> Tensor:
    if isinstance(match, str):
        raise EinsearchError(f"implementation triton cannot run: {match}; use auto or another one")
    return btt(x, *match.factors(factors))


def _triton_refuses(operator: Operator, device: torch.device, dtype: torch.dtype) -> str | None:
    return unavailable_because(device, dtype) or (None if matches(operator) else is_no_btt(operator))


IMPLEMENTATIONS: dict[str, Implementation] = {
    "reference": Implementation(row_major=reference.einsum_linear),
    "feature-major": Implementation(feature_major=feature_major.einsum_linear, prepare=feature_major.recipe_of),
    "merged": Implementation(row_major=merged.einsum_linear, feature_major=merged.feature_major_einsum_linear),
    "triton": Implementation(row_major=_triton, prepare=_matched, refuses=_triton_refuses),
}


def require_implementation(name: str) -> None:
    """EinsearchError for a name that is neither `auto` nor an implementation."""
    if name != "auto" and name not in IMPLEMENTATIONS:
        raise EinsearchError(f"unknown implementation {name!r}; known: {', '.join(('auto', *IMPLEMENTATIONS))}")


def apply(
    name: str, x: Tensor, factors: Sequence[Tensor], operator: Operator, activations: Activations, prepared: Any = None
) -> Tensor:
    """The product by one implementation; x and y lie as `activations` says.

    prepared: by the implementation's `prepare`, where it is at hand. Raises EinsearchError where the implementation
    cannot compute this operator there.
    """
    implementation = IMPLEMENTATIONS[name]
    prepared = implementation.prepare(operator) if prepared is None else prepared
    native = implementation.row_major if activations == "row-major" else implementation.feature_major
    if native is not None:
        return native(x, factors, prepared)
    if activations == "feature-major":
        assert implementation.row_major is not None
        return transposed(implementation.row_major(transposed(x), factors, prepared))
    assert implementation.feature_major is not None
    rows = x.reshape(-1, x.shape[-1])
    y = transposed(implementation.feature_major(transposed(rows), factors, prepared))
    return y.view(*x.shape[:-1], y.shape[-1])
