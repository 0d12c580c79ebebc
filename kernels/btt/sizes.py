"""The sizes of a Block Tensor-Train product and its counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from einsearch.errors import EinsearchError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """x is (alpha gamma), y is (epsilon phi), the intermediate (gamma, phi, rho)."""

    alpha: int
    gamma: int
    epsilon: int
    phi: int
    rho: int

    @property
    def d_in(self) -> int:
        return self.alpha * self.gamma

    @property
    def d_out(self) -> int:
        return self.epsilon * self.phi

    @property
    def intermediate(self) -> int:
        """Numbers of the intermediate per token."""
        return self.gamma * self.phi * self.rho

    @property
    def first_macs(self) -> int:
        """MACs per token of the first stage, and parameters of the first factor."""
        return self.alpha * self.intermediate

    @property
    def second_macs(self) -> int:
        """MACs per token of the second stage, and parameters of the second factor."""
        return self.epsilon * self.intermediate

    @property
    def exchanged(self) -> Sizes:
        """Of the transposed product: x and y, and so the two factors, in each other's role."""
        return Sizes(alpha=self.epsilon, gamma=self.phi, epsilon=self.alpha, phi=self.gamma, rho=self.rho)

    @classmethod
    def of(cls, x: Sequence[int], a: Sequence[int], b: Sequence[int]) -> Sizes:
        """The sizes of operands of these shapes; raises EinsearchError where they do not fit together."""
        if len(a) != 4 or len(b) != 4:
            raise EinsearchError(
                f"a has {len(a)} axes, b {len(b)}; give a as (alpha, gamma, phi, rho), b as (gamma, epsilon, phi, rho)"
            )
        (alpha, gamma, phi, rho), epsilon = a, b[1]
        if tuple(b) != (gamma, epsilon, phi, rho):
            raise EinsearchError(
                f"b has shape {tuple(b)}, but a of shape {tuple(a)} asks for gamma {gamma}, phi {phi} and rho {rho}: "
                f"({gamma}, epsilon, {phi}, {rho})"
            )
        if min(*a, *b) < 1:
            raise EinsearchError(f"a has shape {tuple(a)}, b {tuple(b)}; every size of a factor is at least 1")
        if not x or x[-1] != alpha * gamma:
            raise EinsearchError(
                f"x has shape {tuple(x)}; its last axis must be alpha * gamma = {alpha} * {gamma} = {alpha * gamma}"
            )
        return cls(alpha=alpha, gamma=gamma, epsilon=epsilon, phi=phi, rho=rho)
