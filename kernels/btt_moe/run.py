"""The launches of a mixture: what computes the rows of one direction, and the gradient of a factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from einsearch.kernels.btt_moe.choose import choose_gradient, choose_product, chunk
from einsearch.kernels.btt_moe.direction import Direction
from einsearch.kernels.btt_moe.dispatch import Routing
from einsearch.kernels.btt_moe.gradient import fused_gradient, stage_gradient
from einsearch.kernels.btt_moe.launch import Launch, Runner, precision
from einsearch.kernels.btt_moe.product import fused_product
from einsearch.kernels.btt_moe.stage import stage_product
from einsearch.kernels.btt_moe.sums import sum_parts, sum_slots
from einsearch.kernels.btt_moe.tiles import Limits, Tile, blocks, power_of_two

Arguments = dict[str, Tensor | int]

SUMMED = 1024
"""Numbers that one program of a sum over slots or parts writes, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """target: (tokens, epsilon * phi). dots: (tokens, active), float32, where there was a probe. middle: (pairs, rho *
    phi * gamma), in sorted order, where it was written to memory."""

    target: Tensor
    dots: Tensor | None
    middle: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """The kernels on one routing, run by one runner."""

    direction: Direction
    routing: Routing
    runner: Runner
    dtype: torch.dtype

    def reversed(self) -> Mixture:
        return Mixture(direction=self.direction.reversed(), routing=self.routing, runner=self.runner, dtype=self.dtype)

    def product(self, source: Tensor, first: Tensor, second: Tensor, probe: Tensor | None = None) -> Product:
        """target[n] = sum over j of gate[n, j] * second(first(source[n])), the factors of expert j of token n.

        source: (tokens, alpha * gamma), numbers of a row side by side; factors packed (`Direction`). With a probe, like
        the target, dots[n, j] is the product of second(first(source[n])) with probe[n], before the gate.
        """
        choice = choose_product(self.direction, self.limits)
        rows = source.new_empty(self.routing.pairs, self.direction.target)
        middle = None
        if choice.fused:
            (tile,) = choice.launches
            arguments: Arguments = {"source": source, "first": first, "second": second, "source_row": source.stride(0)}
            dots = self.write_rows(fused_product, tile, arguments, self.direction.constants(), rows, probe)
        else:
            middle = self.first_stage(choice.launches[0], source, first)
            arguments = {"source": middle, "factor": second, "source_row": middle.stride(0)}
            sizes = {"OWN": self.direction.epsilon, "NEAR": self.direction.phi, "FAR": self.direction.gamma}
            constants = {**sizes, "RHO": self.direction.rho, "LAST": True}
            dots = self.write_rows(stage_product, choice.launches[1], arguments, constants, rows, probe)
        return Product(target=self.sum_slots(rows), dots=dots, middle=middle)

    def first_stage(self, tile: Tile, source: Tensor, first: Tensor) -> Tensor:
        """The middle of every pair, (pairs, rho * phi * gamma) in sorted order."""
        middle = source.new_empty(self.routing.pairs, self.direction.middle)
        arguments: Arguments = {"source": source, "factor": first, "source_row": source.stride(0)}
        sizes = {"OWN": self.direction.alpha, "NEAR": self.direction.gamma, "FAR": self.direction.phi}
        constants = {**sizes, "RHO": self.direction.rho, "LAST": False}
        self.write_rows(stage_product, tile, arguments, constants, middle, None)
        return middle

    def write_rows(
        self,
        kernel: Any,
        tile: Tile,
        arguments: Arguments,
        constants: dict[str, int],
        target: Tensor,
        probe: Tensor | None,
    ) -> Tensor | None:
        """Run a kernel that writes a row of the target for each pair; return the dots of the rows with the probe."""
        if probe is None:
            probing: Arguments = {"probe": target, "dots": target, "probe_row": 0, "pairs": 0}
        else:
            dots = probe.new_empty(tile.slices, self.routing.pairs, dtype=torch.float32)
            probing = {"probe": probe, "dots": dots, "probe_row": probe.stride(0), "pairs": self.routing.pairs}
        length = chunk(tile, self.routing.pairs, "product")
        self.launch(
            kernel,
            tile,
            length,
            {**arguments, "target": target, **probing},
            {**constants, "WITH_DOTS": probe is not None},
        )
        return None if probe is None else dots.sum(0).view_as(self.routing.gate)

    def first_gradient(
        self, source: Tensor, target: Tensor, second: Tensor, middle: Tensor | None, like: Tensor
    ) -> Tensor:
        """The gradient of the first factor, packed as and shaped `like` it; zero for an expert without pairs.

        `target`: the gradient of the target. `middle`: that of the middle, before the gate, where it is at hand.
        """
        choice = choose_gradient(self.direction, self.limits, given=middle is not None)
        *_, tile = choice.launches
        length = chunk(tile, self.routing.pairs, "gradient")
        parts = like.new_empty(self.routing.most_chunks(length), *like.shape[1:], dtype=torch.float32)
        arguments: Arguments = {"x": source, "parts": parts, "x_row": source.stride(0)}
        constants = self.direction.constants()
        if choice.fused:
            arguments |= {"dy": target, "second": second, "dy_row": target.stride(0)}
            self.launch(fused_gradient, tile, length, arguments, constants)
        else:
            if middle is None:
                middle = self.reversed().first_stage(choice.launches[0], target, second)
            del constants["EPSILON"]
            self.launch(stage_gradient, tile, length, arguments | {"u": middle}, constants)
        return self.sum_parts(parts, length, like)

    def launch(
        self,
        kernel: Any,
        tile: Tile,
        length: int,
        arguments: Arguments,
        constants: dict[str, int],
    ) -> None:
        self.runner.run(
            Launch(
                kernel=kernel,
                grid=(self.routing.most_chunks(length) * tile.slices,),
                arguments={**arguments, **self.routing.arguments()},
                constants={
                    **constants,
                    **self.routing.constants(),
                    **tile.blocks,
                    "CHUNK": length,
                    "WARPS": tile.warps,
                    "PRECISION": precision(self.dtype),
                },
                warps=tile.warps,
            )
        )

    def sum_slots(self, rows: Tensor) -> Tensor:
        """(tokens * active, width) -> (tokens, width)."""
        tokens, active = self.routing.gate.shape
        if active == 1:
            return rows
        width = rows.shape[1]
        out = rows.new_empty(tokens, width)
        block = min(power_of_two(width), SUMMED)
        self.runner.run(
            Launch(
                kernel=sum_slots,
                grid=(tokens, blocks(width, block)),
                arguments={"rows": rows, "out": out},
                constants={"WIDTH": width, "ACTIVE": active, "BLOCK": block},
                warps=4,
            )
        )
        return out

    def sum_parts(self, parts: Tensor, length: int, like: Tensor) -> Tensor:
        """(chunks, ...) -> (experts, ...), of the dtype of `like`."""
        out = torch.empty_like(like)
        width, experts = like[0].numel(), self.routing.experts
        block = min(power_of_two(width), SUMMED)
        self.runner.run(
            Launch(
                kernel=sum_parts,
                grid=(experts, blocks(width, block)),
                arguments={"parts": parts, "offsets": self.routing.offsets, "out": out},
                constants={"WIDTH": width, "EXPERTS": experts, "CHUNK": length, "BLOCK": block},
                warps=4,
            )
        )
        return out

    @property
    def limits(self) -> Limits:
        pairs = power_of_two(self.routing.pairs_an_expert)  # few values, as each is a tile to choose and to compile
        return Limits(itemsize=self.dtype.itemsize, shared=self.runner.shared, pairs=pairs)
