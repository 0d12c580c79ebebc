"""(token, slot) pairs sorted by expert, without waiting for the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def sort_pairs(expert: Tensor, experts: int) -> tuple[Tensor, Tensor]:
    """(order, offsets) of the pairs of `expert`, (..., active) of int64, each in [0, experts), which is not checked.

    Pair n * active + j is slot j of token n. order: (pairs,) int64, the pairs sorted by expert, those of one expert in
    the order of the tokens; those of expert e are order[offsets[e] : offsets[e + 1]]. offsets: (experts + 1,) int32.
    Both stay on the device: the host never reads how many tokens an expert has. The sort is stable, so there is one
    right result. Its keys are as narrow as `experts` allows: a radix sort takes a pass a byte.
    """
    narrow = torch.uint8 if experts <= torch.iinfo(torch.uint8).max else torch.int32
    keys, order = torch.sort(expert.reshape(-1).to(narrow), stable=True)
    borders = torch.arange(experts + 1, dtype=narrow, device=expert.device)
    return order, torch.searchsorted(keys, borders, out_int32=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Where each token goes and with what weight. gate: (tokens, active), contiguous; the rest as of `sort_pairs`."""

    gate: Tensor
    order: Tensor
    offsets: Tensor

    @property
    def pairs(self) -> int:
        return self.order.numel()

    @property
    def experts(self) -> int:
        return self.offsets.numel() - 1

    @property
    def pairs_an_expert(self) -> int:
        """On average, rounded up."""
        return -(-self.pairs // self.experts)

    def most_chunks(self, chunk: int) -> int:
        """The most chunks of up to that many pairs that every expert's are cut into, however they are spread."""
        return (self.pairs + self.experts * (chunk - 1)) // chunk

    def arguments(self) -> dict[str, Tensor]:
        """By the names of the kernels' parameters, as `constants`."""
        return {"gate": self.gate, "order": self.order, "offsets": self.offsets}

    def constants(self) -> dict[str, int]:
        return {"EXPERTS": self.experts, "ACTIVE": self.gate.shape[1]}
