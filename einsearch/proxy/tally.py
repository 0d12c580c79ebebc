"""Statistics of training steps, summed up where they are: no step waits for the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from einsearch.layers.router import Router, Routing

_MEMORY = 0.9
"""Weight of the past in the running mean of the loss."""


class Tally:
    """Means and extremes over steps: of the gradient's norm, the loss and, with mixtures, the routers' statistics."""

    def __init__(self) -> None:
        self._steps = 0
        self._names: tuple[str, ...] = ()
        self._sum: Tensor | None = None
        self._greatest: Tensor | None = None
        self._running: Tensor | None = None

    def add(self, loss: Tensor, gradient_norm: Tensor, routings: list[tuple[Router, Routing]]) -> None:
        """One step. loss: () of its batch; gradient_norm: () before clipping; routings: of its forward pass."""
        loss = loss.detach()
        self._running = loss if self._running is None else self._running
        found = {"gradient_norm": gradient_norm.detach(), "loss_rise": loss - self._running}
        self._running = torch.lerp(loss, self._running, _MEMORY)
        if routings:
            held = [routing.statistics() for _, routing in routings]
            found |= {f"router_{name}": torch.stack([each[name].detach() for each in held]).mean() for name in held[0]}
        self._names = tuple(found)
        values = torch.stack([value.float() for value in found.values()])
        self._sum = values if self._sum is None else self._sum + values
        self._greatest = values if self._greatest is None else torch.maximum(self._greatest, values)
        self._steps += 1

    def result(self) -> dict[str, float]:
        """Means over the steps by name, and the greatest of some; what is not finite is left out.

        greatest_loss_rise: how far a step's loss rose above the running mean of those before (a spike, where it is
        some tenths of a nat).
        router_max_load, router_min_load: the greatest and least share of an expert, 1 where all are even, and
        router_entropy in nats, means over the routers; router_dropped: tokens that no expert took, always none.
        """
        if self._sum is None or self._greatest is None:
            return {}
        found = dict(zip(self._names, (self._sum / self._steps).tolist(), strict=True))
        del found["loss_rise"]
        found["greatest_gradient_norm"], found["greatest_loss_rise"] = self._greatest[:2].tolist()
        if len(self._names) > 2:
            found["router_dropped"] = 0.0
        return {name: value for name, value in found.items() if math.isfinite(value)}
