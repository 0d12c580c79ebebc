"""Mixtures of experts: EinsumMoE in place of a linear layer, ExpertFFN in place of an FFN.

Both are called with a :class:`einsearch.layers.router.Routing`, which a router makes of their input, or of
that of several layers: so routers may be shared, and what a routing says of losses and loads leaves the model
as any other result does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einsearch.kernels.einsum_moe.reference import Expert
from einsearch.kernels.transpose.contiguous import transposed
from einsearch.layers.experts import EinsumExperts
from einsearch.layers.moe_implementations import (
    IMPLEMENTATIONS,
    expert_products,
    implementation_on,
    layer_product,
    require_implementation,
)
from einsearch.layers.parametrize import Fans, dense_multiplier
from einsearch.layers.router import Routing
from einsearch.space.einsum import Einsum


class EinsumMoE(EinsumExperts):
    """y = sum over the active experts e of gate_e * x W_e, + b; W_e is an einsum of expert e's factors.

    x: (..., in_features) -> (..., out_features). Only active experts are computed. The expert index is one
    more index of every factor; on a BTT of rank 1 it is the rank index (BTT-MoE), on one factor this is a
    mixture of dense matrices. Arguments are those of EinsumLinear; the bias is common to the experts.

    `implementation` is a name of IMPLEMENTATIONS, or `auto`: by device and size, never by timing.

    Raises EinsearchError as :class:`EinsumExperts`, and for an unknown implementation.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        einsum: Einsum | str,
        experts: int,
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
        super().__init__(
            in_features,
            out_features,
            einsum,
            experts,
            normalize=normalize,
            gain=gain,
            zero=zero,
            generator=generator,
            device=device,
            dtype=dtype,
        )
        require_implementation(implementation)
        self.implementation = implementation
        self.bias = nn.Parameter(torch.zeros(out_features, device=device, dtype=dtype)) if bias else None

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        super().reset_parameters(generator)
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor, routing: Routing) -> Tensor:
        sizes, name = self.operator.sizes, self.implementation_on(x.device)
        x = F.pad(x, (0, sizes.padded_in - self.in_features)) if sizes.padded_in != self.in_features else x
        product = layer_product(name, self.operator, x.device, x.dtype)
        y = product(x, self.effective_factors(), self.operator, routing.gate, routing.expert)
        y = y[..., : self.out_features] if sizes.padded_out != self.out_features else y
        return y if self.bias is None else y + self.bias

    def feature_major(self, x: Tensor, routing: Routing) -> Tensor:
        """The layer on feature-major activations: (in_features, tokens) -> (out_features, tokens).

        Experts gather tokens, which are whole rows of memory only in row-major activations.
        """
        return transposed(self(transposed(x), routing))

    def implementation_on(self, device: torch.device) -> str:
        """The implementation that runs on a device."""
        return implementation_on(self.implementation, device, [self.operator])

    def learning_rate_multipliers(
        self, base_in_features: int | None = None, base_out_features: int | None = None, optimizer: str = "adamw"
    ) -> dict[str, float]:
        found = super().learning_rate_multipliers(base_in_features, base_out_features, optimizer)
        if self.bias is not None:
            base = Fans(1, self.out_features).changed(None, base_out_features)
            found["bias"] = dense_multiplier(Fans(1, self.out_features), base, optimizer)
        return found

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, bias={self.bias is not None}"


class ExpertFFN(nn.Module):
    """The standard mixture of experts: y = sum over the active experts e of gate_e * down_e(GELU(up_e(x))).

    x: (..., features) -> (..., features); GELU is exact. `up` and `down` are einsums, or texts of them.
    `zero` starts the last factor of `down` at zero. Arguments are otherwise those of :class:`EinsumMoE`,
    without biases.
    """

    def __init__(
        self,
        features: int,
        hidden_features: int,
        up: Einsum | str,
        down: Einsum | str,
        experts: int,
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
        require_implementation(implementation)
        self.implementation = implementation
        make = partial(
            EinsumExperts,
            experts=experts,
            normalize=normalize,
            gain=gain,
            generator=generator,
            device=device,
            dtype=dtype,
        )
        self.up = make(features, hidden_features, up)
        self.down = make(hidden_features, features, down, zero=zero)

    def forward(self, x: Tensor, routing: Routing) -> Tensor:
        name = self.implementation_on(x.device)
        ups, downs = (_linears(part, name, x) for part in (self.up, self.down))
        experts = [partial(_ffn, up, down) for up, down in zip(ups, downs, strict=True)]
        weighted_sum = IMPLEMENTATIONS[name].weighted_sum
        return weighted_sum(x, routing.gate, routing.expert, experts, self.down.out_features)

    def feature_major(self, x: Tensor, routing: Routing) -> Tensor:
        """(features, tokens) -> (features, tokens)."""
        return transposed(self(transposed(x), routing))

    def implementation_on(self, device: torch.device) -> str:
        """The implementation that runs on a device."""
        return implementation_on(self.implementation, device, [self.up.operator, self.down.operator])


def _linears(part: EinsumExperts, name: str, x: Tensor) -> list[Expert]:
    """Each expert's linear layer, padding included."""
    sizes = part.operator.sizes
    products = expert_products(name, part.effective_factors(), part.operator, x.device, x.dtype)
    if not part.operator.padded:
        return products
    added = sizes.padded_in - sizes.d_in

    def padded(product: Expert, rows: Tensor) -> Tensor:
        return product(F.pad(rows, (0, added)))[:, : sizes.d_out]

    return [partial(padded, product) for product in products]


def _ffn(up: Callable[[Tensor], Tensor], down: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    return down(F.gelu(up(rows)))
