"""EinsumLinear: a linear layer whose matrix is any einsum of factors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einsearch.layers.implementations import IMPLEMENTATIONS, Activations, apply, require_implementation
from einsearch.layers.parametrize import Fans, dense_multiplier, factor_multipliers
from einsearch.space.einsum import Einsum
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse

MERGED_UP_TO = 128 * 128
"""Entries of the dense matrix up to which `auto` merges on a CPU: there merging took 0.3 to 1.0 of the
time of the reference (one thread, forward and backward, 2,048 rows, BTT, low rank and Kronecker)."""


class EinsumLinear(nn.Module):
    """y = x W + b, W an einsum of factors; a drop-in for `nn.Linear`.

    x: (..., in_features) -> (..., out_features). `einsum` is an :class:`Einsum` or any text that
    :func:`einsearch.space.notation.parse` reads. Rules of arXiv 2410.02117:

    * a factor with fan-in n_in and fan-out n_out, as the reference plan contracts it, starts with
      std = sqrt(min(n_in, n_out)) / n_in;
    * with `normalize`, each factor is used as gain * W / max(1, rms(W) / std), the gain learnable and
      starting at 1 (`gain=False` leaves it out, for queries and keys that are normalised anyway). A
      single factor (dense) is never normalised;
    * `zero` starts the last factor at zero, for the output of a residual branch.

    `implementation` is a name of IMPLEMENTATIONS, or `auto`: by device and size, never by timing, so
    that results repeat bit for bit; :func:`einsearch.tune` sets what is measured to be the fastest.

    Raises EinsearchError for text that is no einsum, dimensions below 1, an unknown implementation.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        einsum: Einsum | str,
        bias: bool = True,
        *,
        normalize: bool = True,
        gain: bool = True,
        zero: bool = False,
        implementation: str = "auto",
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.operator: Operator = operator(
            parse(einsum) if isinstance(einsum, str) else einsum, in_features, out_features
        )
        require_implementation(implementation)
        self.implementation = implementation
        self._prepared = {name: each.prepare(self.operator) for name, each in IMPLEMENTATIONS.items()}
        self.normalize = normalize and self.operator.einsum.factors > 1
        self.zero = zero
        factors = range(self.operator.einsum.factors)
        self.factors = nn.ParameterList(
            nn.Parameter(torch.empty(self.operator.factor_shape(f), device=device, dtype=dtype)) for f in factors
        )
        self.gain = (
            nn.Parameter(torch.ones(len(self.factors), device=device, dtype=dtype)) if gain and self.normalize else None
        )
        self.bias = nn.Parameter(torch.zeros(out_features, device=device, dtype=dtype)) if bias else None
        self.std = tuple(factor_std(self.operator, f) for f in factors)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        last = self.operator.plan.steps[-1].factor
        for f, (factor, std) in enumerate(zip(self.factors, self.std, strict=True)):
            if self.zero and f == last:
                factor.zero_()
            else:
                factor.normal_(0.0, std, generator=generator)
        for parameter, value in ((self.gain, 1.0), (self.bias, 0.0)):
            if parameter is not None:
                parameter.fill_(value)

    def effective_factors(self) -> list[Tensor]:
        """The factors as they are used: weight-normalised, times their gains."""
        if not self.normalize:
            return list(self.factors)
        gains = [1.0] * len(self.factors) if self.gain is None else self.gain.unbind()
        found = []
        for factor, std, gain in zip(self.factors, self.std, gains, strict=True):
            rms_over_std = torch.linalg.vector_norm(factor) * (1 / (std * math.sqrt(factor.numel())))
            found.append(factor * (gain / rms_over_std.clamp(min=1.0)))
        return found

    def forward(self, x: Tensor) -> Tensor:
        sizes = self.operator.sizes
        if sizes.padded_in != self.in_features:
            x = F.pad(x, (0, sizes.padded_in - self.in_features))
        y = self._product(x, "row-major")
        if sizes.padded_out != self.out_features:
            y = y[..., : self.out_features]
        return y if self.bias is None else y + self.bias

    def feature_major(self, x: Tensor) -> Tensor:
        """The layer on feature-major activations: (in_features, tokens) -> (out_features, tokens)."""
        sizes = self.operator.sizes
        if sizes.padded_in != self.in_features:
            x = F.pad(x, (0, 0, 0, sizes.padded_in - self.in_features))
        y = self._product(x, "feature-major")
        if sizes.padded_out != self.out_features:
            y = y[: self.out_features]
        return y if self.bias is None else y + self.bias[:, None]

    def _product(self, x: Tensor, activations: Activations) -> Tensor:
        name = self.implementation_on(x.device, activations)
        return apply(name, x, self.effective_factors(), self.operator, activations, self._prepared[name])

    def implementation_on(self, device: torch.device, activations: Activations = "row-major") -> str:
        """The implementation that runs on a device."""
        if self.implementation != "auto":
            return self.implementation
        sizes = self.operator.sizes
        small = sizes.padded_in * sizes.padded_out <= MERGED_UP_TO
        if device.type == "cpu" and small and self.operator.einsum.factors > 1:
            return "merged"
        if activations == "feature-major":
            return "feature-major"
        # Products of plain matrices need no permutation in any layout; for the others two transpositions of the
        # activations cost a CPU less than permuting them in every step.
        plain = all(step.batch == step.passing == () for step in self.operator.plan.steps)
        return "reference" if plain or device.type != "cpu" else "feature-major"

    def learning_rate_multipliers(
        self, base_in_features: int | None = None, base_out_features: int | None = None, optimizer: str = "adamw"
    ) -> dict[str, float]:
        """Learning-rate multiplier of every own parameter, by name.

        base_in_features, base_out_features: of the same dense layer in the model that the learning rate was tuned
        for (muP). Without them that model is this one. optimizer: of einsearch.layers.parametrize.OPTIMIZERS.
        Gains have 1.
        """
        here = Fans(self.in_features, self.out_features)
        base = here.changed(base_in_features, base_out_features)
        found = factor_multipliers(self.operator, base, optimizer)
        if self.gain is not None:
            found["gain"] = 1.0
        if self.bias is not None:
            found["bias"] = dense_multiplier(Fans(1, here.fan_out), Fans(1, base.fan_out), optimizer)
        return found

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return f"{self.in_features}, {self.out_features}, {self.operator.einsum} [{self.operator}], bias={bias}"


def factor_std(operator: Operator, factor: int) -> float:
    """sqrt(min(n_in, n_out)) / n_in of a factor, as the reference plan contracts it."""
    step = operator.plan.step_of(factor)
    return math.sqrt(min(step.fan_in, step.fan_out)) / step.fan_in
