"""Everything that identifies what a trial trains, apart from its seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from einsearch.errors import EinsearchError
from einsearch.space.classify import label
from einsearch.space.einsum import Einsum
from einsearch.space.families import dense
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse
from einsearch.space.structure import reducible_because
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


SITES: dict[str, tuple[str, ...]] = {
    "same": ("all",),
    "separate": ("attention", "ffn"),
    "each": ("q", "k", "v", "o", "up", "down"),
}
"""How the linear layers of a block may share structures: names of the sites under each way."""

LAYERS = SITES["each"]

_SITE_OF = {name: "attention" if name in "qkvo" else "ffn" for name in LAYERS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model shape and the einsum of each linear layer of a block. Build one with :meth:`of` or :meth:`of_sites`.

    einsums: of q k v o up down, in this order.
    """

    einsums: tuple[Einsum, ...]
    shape: ModelShape

    @classmethod
    def of(cls, einsum: Einsum, shape: ModelShape) -> Candidate:
        """The same structure at every site."""
        return cls(einsums=(einsum,) * len(LAYERS), shape=shape)

    @classmethod
    def of_sites(cls, sites: Mapping[str, Einsum], shape: ModelShape) -> Candidate:
        """A structure for each site: a layer takes that of its own name, of its site, or of `all`."""
        found = []
        for name in LAYERS:
            held = [sites[site] for site in (name, _SITE_OF[name], "all") if site in sites]
            if not held:
                raise EinsearchError(
                    f"layer {name} has no structure (given: {', '.join(sites) or 'none'}); give all, or attention and "
                    f"ffn, or {', '.join(LAYERS)}"
                )
            found.append(held[0])
        return cls(einsums=tuple(found), shape=shape)

    @classmethod
    def dense(cls, shape: ModelShape) -> Candidate:
        return cls.of(dense(), shape)

    @property
    def by_layer(self) -> dict[str, Einsum]:
        """The einsum of each linear layer of a block: q k v o up down."""
        return dict(zip(LAYERS, self.einsums, strict=True))

    @property
    def by_site(self) -> dict[str, Einsum]:
        """The structures under the fewest names: of attention and ffn, or of every layer where these differ within."""
        layers = self.by_layer
        for name, einsum in layers.items():
            if einsum != layers["q" if name in "qkvo" else "up"]:
                return layers
        return {"attention": layers["q"], "ffn": layers["up"]}

    @property
    def is_dense(self) -> bool:
        return all(einsum.factors == 1 for einsum in self.einsums)

    def at_width(self, width: int) -> Candidate:
        return replace(self, shape=replace(self.shape, width=width))

    def canonical(self) -> Candidate:
        """The same candidate with canonical structures; its key is the same."""
        return replace(self, einsums=tuple(einsum.canonical() for einsum in self.einsums))

    def layers(self) -> dict[str, Operator]:
        """The operator of each linear layer of a block: q k v o up down."""
        einsums = self.by_layer
        return {name: operator(einsums[name], d_in, d_out) for name, (_, d_in, d_out) in self.shape.sites.items()}

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
        """Family; where sites differ the family of each."""
        return self._for_sites(label)

    @property
    def theta(self) -> str:
        """The exponents as text; where sites differ those of each."""
        return self._for_sites(lambda einsum: "dense" if einsum.factors == 1 else str(einsum))

    def _for_sites(self, text: Callable[[Einsum], str]) -> str:
        texts = {name: text(einsum) for name, einsum in self.by_site.items()}
        if len(set(texts.values())) == 1:
            return next(iter(texts.values()))
        if len(texts) == 2:
            return " / ".join(texts.values())
        names: dict[str, list[str]] = {}
        for name, value in texts.items():
            names.setdefault(value, []).append(name)
        return " / ".join(f"{' '.join(held)}: {value}" for value, held in names.items())

    def invalid_because(self) -> str | None:
        """Why this may not be trained (reducible, or dearer than dense), or None where it may."""
        for site, einsum in self.by_site.items():
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
        return {name: str(einsum) for name, einsum in self.by_site.items()} | {"shape": shape}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Candidate:
        sites = {name: parse(text) for name, text in data.items() if name != "shape"}
        return cls.of_sites(sites, ModelShape(**data["shape"]))
