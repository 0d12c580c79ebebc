"""EinsumExperts: the parameters of several einsum layers of one structure, stacked."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from einsearch.errors import EinsearchError
from einsearch.layers.linear import factor_std
from einsearch.layers.parametrize import Fans, factor_multipliers
from einsearch.space.einsum import Einsum
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse


class EinsumExperts(nn.Module):
    """Factors of the shapes (experts, *operator.factor_shape(f)), with the training rules of EinsumLinear.

    Each expert starts and learns as an EinsumLinear alone would: the standard deviations, the norms of weight
    normalization and the learning-rate multipliers are those of one expert's factors. With weight normalization
    and `gain` there is a gain for every factor of every expert, of the shape (factors, experts).

    Raises EinsearchError for text that is no einsum, dimensions below 1, less than two experts.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        einsum: Einsum | str,
        experts: int,
        *,
        normalize: bool = True,
        gain: bool = True,
        zero: bool = False,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if experts < 2:
            raise EinsearchError(f"experts is {experts}; a mixture has at least 2, one alone is an EinsumLinear")
        self.in_features = in_features
        self.out_features = out_features
        self.experts = experts
        einsum = parse(einsum) if isinstance(einsum, str) else einsum
        self.operator: Operator = operator(einsum, in_features, out_features)
        self.normalize = normalize and einsum.factors > 1
        self.zero = zero
        shapes = [(experts, *self.operator.factor_shape(f)) for f in range(einsum.factors)]
        self.factors = nn.ParameterList(
            nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) for shape in shapes
        )
        gains = torch.empty(len(shapes), experts, device=device, dtype=dtype) if gain and self.normalize else None
        self.gain = None if gains is None else nn.Parameter(gains)
        self.std = tuple(factor_std(self.operator, f) for f in range(einsum.factors))
        EinsumExperts.reset_parameters(self, generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        last = self.operator.plan.steps[-1].factor
        for f, (factor, std) in enumerate(zip(self.factors, self.std, strict=True)):
            if self.zero and f == last:
                factor.zero_()
            else:
                factor.normal_(0.0, std, generator=generator)
        if self.gain is not None:
            self.gain.fill_(1.0)

    def effective_factors(self) -> list[Tensor]:
        """The factors as they are used: weight-normalised expert by expert, times their gains."""
        if not self.normalize:
            return list(self.factors)
        gains = [1.0] * len(self.factors) if self.gain is None else self.gain.unbind()
        found = []
        for factor, std, gain in zip(self.factors, self.std, gains, strict=True):
            flat = factor.flatten(1)
            rms_over_std = torch.linalg.vector_norm(flat, dim=1) * (1 / (std * math.sqrt(flat.shape[1])))
            scale = gain / rms_over_std.clamp(min=1.0)
            found.append(factor * scale.view(-1, *(1,) * (factor.dim() - 1)))
        return found

    def learning_rate_multipliers(
        self, base_in_features: int | None = None, base_out_features: int | None = None, optimizer: str = "adamw"
    ) -> dict[str, float]:
        """Learning-rate multiplier of every own parameter, by name; see EinsumLinear."""
        base = Fans(self.in_features, self.out_features).changed(base_in_features, base_out_features)
        found = factor_multipliers(self.operator, base, optimizer)
        return found | ({} if self.gain is None else {"gain": 1.0})

    def extra_repr(self) -> str:
        sizes = f"{self.in_features}, {self.out_features}"
        return f"{sizes}, {self.operator.einsum} [{self.operator}], experts={self.experts}"
