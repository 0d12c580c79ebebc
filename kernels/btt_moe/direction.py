"""One way through the factors of a Block Tensor-Train: x to y, or reversed, from the gradient of y to that of x."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """Sizes of z = first applied to the source, target = second applied to z.

    Forward, the source is x[alpha, gamma], first is A packed as [alpha, gamma, rho, phi], second is B packed as
    [epsilon, phi, rho, gamma], and the target is y[epsilon, phi]. So packed, both factors have their own index, the one
    that they share with the near side, rho, and the one that they share with the far side; and the gradient of x is the
    same map with the roles exchanged: source dy, first B, second A, target dx. One kernel, written for the forward,
    serves both. Of the middle, [rho, phi, gamma] forward, the last index is that of the source.
    """

    alpha: int
    gamma: int
    epsilon: int
    phi: int
    rho: int

    @classmethod
    def of(cls, a: Tensor, b: Tensor) -> Direction:
        """Forward through a: (experts, alpha, gamma, phi, rho) and b: (experts, gamma, epsilon, phi, rho)."""
        _, alpha, gamma, phi, rho = a.shape
        return cls(alpha=alpha, gamma=gamma, epsilon=b.shape[2], phi=phi, rho=rho)

    def reversed(self) -> Direction:
        return Direction(alpha=self.epsilon, gamma=self.phi, epsilon=self.alpha, phi=self.gamma, rho=self.rho)

    @property
    def source(self) -> int:
        """Numbers of a row of the source."""
        return self.alpha * self.gamma

    @property
    def middle(self) -> int:
        return self.gamma * self.phi * self.rho

    @property
    def target(self) -> int:
        return self.epsilon * self.phi

    def constants(self) -> dict[str, int]:
        """By the names of the kernels' parameters."""
        return {
            "ALPHA": self.alpha,
            "GAMMA": self.gamma,
            "EPSILON": self.epsilon,
            "PHI": self.phi,
            "RHO": self.rho,
        }


def pack_a(a: Tensor) -> Tensor:
    """(experts, alpha, gamma, phi, rho) -> (experts, alpha, gamma, rho, phi), contiguous; `a` itself if it is that."""
    return a.transpose(3, 4).contiguous()


def unpack_a(a: Tensor) -> Tensor:
    """The inverse of `pack_a`, contiguous."""
    return a.transpose(3, 4).contiguous()


def pack_b(b: Tensor) -> Tensor:
    """(experts, gamma, epsilon, phi, rho) -> (experts, epsilon, phi, rho, gamma), contiguous."""
    return b.permute(0, 2, 3, 4, 1).contiguous()


def unpack_b(b: Tensor) -> Tensor:
    """The inverse of `pack_b`, contiguous."""
    return b.permute(0, 4, 1, 2, 3).contiguous()
