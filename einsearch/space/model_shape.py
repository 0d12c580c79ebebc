"""The sizes of a model around its linear layers, and the names of these layers."""

from __future__ import annotations

from dataclasses import dataclass

from einsearch.errors import EinsearchError

SITES: dict[str, tuple[str, ...]] = {
    "same": ("all",),
    "separate": ("attention", "ffn"),
    "each": ("q", "k", "v", "o", "up", "down"),
}
"""How the linear layers of a block may share structures: names of the sites under each way."""

LAYERS = SITES["each"]
"""The linear layers of a block, in order."""

FFN_LAYERS = ("up", "down")


def site_of(layer: str) -> str:
    """`attention` or `ffn`."""
    return "ffn" if layer in FFN_LAYERS else "attention"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The sizes of a GPT-2 style transformer around its linear layers.

    width: residual stream. depth: blocks. head_size: channels of an attention head. ffn_expansion:
    hidden width of the MLP over `width`.
    """

    family: str = "gpt2"
    width: int
    depth: int = 2
    head_size: int = 16
    ffn_expansion: int = 4

    def __post_init__(self) -> None:
        if self.family != "gpt2":
            raise EinsearchError(f"unknown model family {self.family!r}; known: gpt2")
        for name in ("width", "depth", "head_size", "ffn_expansion"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise EinsearchError(f"{name} is {value}; it must be a positive integer")
        if self.width % self.head_size:
            below = max(self.width // self.head_size, 1) * self.head_size
            raise EinsearchError(
                f"width {self.width} is not divisible by head size {self.head_size}; "
                f"use width {below} or {below + self.head_size}, or another head size"
            )

    @property
    def sites(self) -> dict[str, tuple[str, int, int]]:
        """The linear layers of one block: name -> (site, d_in, d_out)."""
        d, hidden = self.width, self.width * self.ffn_expansion
        sizes = {"up": (d, hidden), "down": (hidden, d)}
        return {name: (site_of(name), *sizes.get(name, (d, d))) for name in LAYERS}
