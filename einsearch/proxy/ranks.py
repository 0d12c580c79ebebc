"""Processes that train one model together: each on a part of every batch, with the mean of their gradients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from einsearch.errors import EinsearchError


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train a model. With more than one, torch.distributed has to be initialised."""

    rank: int = 0
    size: int = 1

    def require_batch(self, batch: int) -> None:
        """EinsearchError where a batch has no equal parts."""
        if batch % self.size:
            raise EinsearchError(
                f"a batch of {batch} sequences has no {self.size} equal parts; use a divisor of {batch}"
            )

    def part(self, sequences: Tensor) -> Tensor:
        """Those of (sequences, ...) that are this process's."""
        return sequences[self.rank :: self.size]

    def average(self, parameters: Iterable[nn.Parameter], loss: Tensor, stop: bool) -> tuple[Tensor, bool]:
        """Replace gradients by their mean over all processes; returns the mean loss, and whether any wants to stop."""
        if self.size == 1:
            return loss, stop
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        said = torch.stack([loss.detach().float(), loss.new_tensor(float(stop)).float()])
        flat = torch.cat([*(gradient.flatten().float() for gradient in gradients), said])
        dist.all_reduce(flat)
        flat /= self.size
        *means, said = flat.split([*(gradient.numel() for gradient in gradients), 2])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))
        return said[0], bool(said[1] > 0)

    def mean(self, total: Tensor, count: int) -> float:
        """The mean of what all processes have, from their sums and counts."""
        both = torch.stack([total.double(), total.new_tensor(count).double()])
        if self.size > 1:
            dist.all_reduce(both)
        return float(both[0] / both[1])

    def agree(self, names: dict[str, str]) -> dict[str, str]:
        """What the first process chose."""
        if self.size == 1:
            return names
        held = [names]
        dist.broadcast_object_list(held, src=0)
        return held[0]


ALONE = Ranks()
"""The one process of an ordinary trial."""
