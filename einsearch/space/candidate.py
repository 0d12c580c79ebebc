"""Everything that identifies what a trial trains, apart from its seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum, reducible_because
from einsearch.space.families import dense, label
from einsearch.space.notation import parse, write
from einsearch.space.operator import Operator, operator
from einsearch.space.taxonomy import taxonomy


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
        return {
            "q": ("attention", d, d),
            "k": ("attention", d, d),
            "v": ("attention", d, d),
            "o": ("attention", d, d),
            "up": ("ffn", d, hidden),
            "down": ("ffn", hidden, d),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model shape and the einsum of its attention and of its MLP layers."""

    attention: Einsum
    ffn: Einsum
    shape: ModelShape

    @classmethod
    def of(cls, einsum: Einsum, shape: ModelShape) -> Candidate:
        """The same structure at every site."""
        return cls(attention=einsum, ffn=einsum, shape=shape)

    @classmethod
    def dense(cls, shape: ModelShape) -> Candidate:
        return cls.of(dense(), shape)

    @property
    def is_dense(self) -> bool:
        return self.attention.factors == 1 and self.ffn.factors == 1

    def at_width(self, width: int) -> Candidate:
        return replace(self, shape=replace(self.shape, width=width))

    def canonical(self) -> Candidate:
        """The same candidate with canonical structures; its key is the same."""
        return replace(self, attention=self.attention.canonical(), ffn=self.ffn.canonical())

    def layers(self) -> dict[str, Operator]:
        """The operator of each linear layer of a block: q k v o up down."""
        einsum = {"attention": self.attention, "ffn": self.ffn}
        return {name: operator(einsum[site], d_in, d_out) for name, (site, d_in, d_out) in self.shape.sites.items()}

    @property
    def key(self) -> str:
        """12 hex digits of what is trained: canonical operators at integer sizes, and the model's shape.

        Many theta round to one operator: they have one key, and a key is trained once in a study.
        """
        identity = {name: layer.identity for name, layer in self.layers().items()}
        shape = {name: getattr(self.shape, name) for name in self.shape.__dataclass_fields__}
        text = json.dumps({"layers": identity, "shape": shape}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Family, for both sites where they differ."""
        if self.attention == self.ffn:
            return label(self.attention)
        return f"{label(self.attention)} / {label(self.ffn)}"

    @property
    def theta(self) -> str:
        """The exponents as text, for both sites where they differ."""
        texts = ["dense" if einsum.factors == 1 else write(einsum) for einsum in (self.attention, self.ffn)]
        return texts[0] if texts[0] == texts[1] else " / ".join(texts)

    def invalid_because(self) -> str | None:
        """Why this may not be trained (reducible, or dearer than dense), or None where it may."""
        for site, einsum in (("attention", self.attention), ("ffn", self.ffn)):
            if reason := reducible_because(frozenset(einsum.indices), einsum.factors):
                return f"{site}: reducible: {reason}"
            if (nu := taxonomy(einsum).nu) > 1:
                return f"{site}: dearer than dense: nu = {float(nu):g} > 1"
        for name, layer in self.layers().items():
            if reason := layer.degenerate_because:
                return f"layer {name} ({layer}): reducible at these sizes: {reason}"
        return None

    def to_json(self) -> dict[str, Any]:
        shape = {name: getattr(self.shape, name) for name in self.shape.__dataclass_fields__}
        return {"attention": write(self.attention), "ffn": write(self.ffn), "shape": shape}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Candidate:
        return cls(attention=parse(data["attention"]), ffn=parse(data["ffn"]), shape=ModelShape(**data["shape"]))
