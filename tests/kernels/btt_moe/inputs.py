"""Mixtures of awkward sizes, with exact numbers, and their comparison."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from einsearch.kernels.btt_moe import reference
from einsearch.kernels.btt_moe.triton import btt_moe
from tests.kernels.compare import TOLERANCE, assert_close, draw, outputs_and_gradients


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """sizes: alpha, gamma, epsilon, phi, rho."""

    experts: int
    active: int
    tokens: int
    sizes: tuple[int, int, int, int, int]

    def __str__(self) -> str:
        sizes = "x".join(map(str, self.sizes))
        return f"{self.active}-of-{self.experts}-{sizes}-{self.tokens}-tokens"

    def inputs(self, device: str = "cpu", avoided: int | None = None) -> dict[str, Tensor]:
        """x, a, b, gate and expert by name; no token chooses the avoided expert."""
        alpha, gamma, epsilon, phi, rho = self.sizes
        preference = torch.rand(self.tokens, self.experts, generator=torch.Generator().manual_seed(4))
        if avoided is not None:
            preference[:, avoided] = -1
        return {
            "x": draw(self.tokens, alpha * gamma, seed=0, device=device),
            "a": draw(self.experts, alpha, gamma, phi, rho, seed=1, device=device),
            "b": draw(self.experts, gamma, epsilon, phi, rho, seed=2, device=device),
            "gate": draw(self.tokens, self.active, seed=3, device=device),
            "expert": preference.argsort(dim=1, descending=True)[:, : self.active].to(device),
        }


SMALL = Case(experts=3, active=2, tokens=7, sizes=(4, 5, 3, 6, 1))


def compared(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs and gradients of the kernels, once they were compared."""
    found = outputs_and_gradients(btt_moe, inputs, dtype=torch.float32)
    expected = outputs_and_gradients(reference.btt_moe, inputs, dtype=torch.float64)
    assert_close(found, expected, tolerance=TOLERANCE[torch.float32])
    return found
