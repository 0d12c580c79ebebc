"""Everything that identifies what a trial trains, apart from its seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from einsearch.errors import EinsearchError
from einsearch.space.classify import label
from einsearch.space.einsum import Einsum
from einsearch.space.families import dense
from einsearch.space.mixture import Counts, Mixture
from einsearch.space.model_shape import FFN_LAYERS, LAYERS, ModelShape, site_of
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse
from einsearch.space.structure import reducible_because
from einsearch.space.taxonomy import taxonomy

_SHORT = {"BTT rank 1": "BTT", "Dense": "Dense"}
"""What mixtures of a structure are called after; others keep the label."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model shape and the einsum of each linear layer of a block. Build one with :meth:`of` or :meth:`of_sites`.

    einsums: of q k v o up down, in this order. mixture: where it has experts, of which each is such an einsum.
    What follows from these is computed once.
    """

    einsums: tuple[Einsum, ...]
    shape: ModelShape
    mixture: Mixture | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def of(cls, einsum: Einsum, shape: ModelShape, mixture: Mixture | None = None) -> Candidate:
        """The same structure at every site."""
        return cls(einsums=(einsum,) * len(LAYERS), shape=shape, mixture=mixture)

    @classmethod
    def of_sites(cls, sites: Mapping[str, Einsum], shape: ModelShape, mixture: Mixture | None = None) -> Candidate:
        """A structure for each site: a layer takes that of its own name, of its site, or of `all`."""
        found = []
        for name in LAYERS:
            held = [sites[site] for site in (name, site_of(name), "all") if site in sites]
            if not held:
                raise EinsearchError(
                    f"layer {name} has no structure (given: {', '.join(sites) or 'none'}); give all, or attention and "
                    f"ffn, or {', '.join(LAYERS)}"
                )
            found.append(held[0])
        return cls(einsums=tuple(found), shape=shape, mixture=mixture)

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
            if einsum != layers["up" if name in FFN_LAYERS else "q"]:
                return layers
        return {"attention": layers["q"], "ffn": layers["up"]}

    @property
    def is_dense(self) -> bool:
        return self.mixture is None and all(einsum.factors == 1 for einsum in self.einsums)

    def at_width(self, width: int) -> Candidate:
        return replace(self, shape=replace(self.shape, width=width))

    def canonical(self) -> Candidate:
        """The same candidate with canonical structures; its key is the same."""
        return replace(self, einsums=tuple(einsum.canonical() for einsum in self.einsums))

    def layers(self) -> dict[str, Operator]:
        """The operator of each linear layer of a block, or of one of its experts: q k v o up down."""
        return dict(self._layers)

    @cached_property
    def _layers(self) -> dict[str, Operator]:
        einsums = self.by_layer
        return {name: operator(einsums[name], d_in, d_out) for name, (_, d_in, d_out) in self.shape.sites.items()}

    def mixture_of(self, layer: str) -> Mixture | None:
        """The mixture that a layer of a block is; None where it is plain."""
        return self.mixture if self.mixture is not None and layer in self.mixture.layers else None

    def layer_counts(self) -> dict[str, Counts]:
        """Counts of each linear layer of a block, without its router: q k v o up down."""
        return dict(self._layer_counts)

    @cached_property
    def _layer_counts(self) -> dict[str, Counts]:
        found = {}
        for name, layer in self._layers.items():
            mixture = self.mixture_of(name)
            plain = Counts(parameters=layer.parameters, active_parameters=layer.parameters, macs=layer.macs)
            found[name] = plain if mixture is None else mixture.layer_counts(layer)
        return found

    def router_counts(self) -> dict[str, Counts]:
        """Counts of each router of a block, by the names of :attr:`Mixture.routers`; empty without a mixture."""
        if self.mixture is None:
            return {}
        sites = self.shape.sites
        return {name: self.mixture.router_counts(sites[own[0]][1]) for name, own in self.mixture.routers.items()}

    def counts(self) -> Counts:
        """Counts of the linear layers and routers of all blocks."""
        block = Counts.sum([*self.layer_counts().values(), *self.router_counts().values()])
        return Counts.sum([block] * self.shape.depth)

    @cached_property
    def key(self) -> str:
        """12 hex digits of what is trained: canonical operators at integer sizes, model's shape, mixture if any.

        Many theta round to one operator: they have one key, and a key is trained once in a study.
        """
        identity = {name: layer.identity for name, layer in self.layers().items()}
        shape = {name: getattr(self.shape, name) for name in self.shape.__dataclass_fields__}
        trained = {"layers": identity, "shape": shape} | self._mixture_json()
        return hashlib.sha256(json.dumps(trained, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Family; where sites differ the family of each; and the mixture, as `BTT-MoE 2/8` or `Standard MoE 2/8`."""
        text, mixture = self._for_sites(label), self.mixture
        if mixture is None:
            return text
        if text == "Dense" and mixture.per == "ffn":
            return f"Standard {mixture.text('')}"
        if text in _SHORT:
            return f"{_SHORT[text]}-{mixture}"
        return f"{text}, {mixture}"

    @property
    def theta(self) -> str:
        """The exponents as text, of one expert where there is a mixture; where sites differ those of each."""
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
        """Why this may not be trained (reducible, or dearer than dense), or None where it may.

        An expert may not be dearer than dense, a mixture may: it has several of them active, and candidates
        are compared at equal FLOPs.
        """
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
        sites = {name: str(einsum) for name, einsum in self.by_site.items()}
        return sites | {"shape": shape} | self._mixture_json()

    def _mixture_json(self) -> dict[str, Any]:
        return {} if self.mixture is None else {"mixture": self.mixture.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Candidate:
        sites = {name: parse(text) for name, text in data.items() if name not in ("shape", "mixture")}
        mixture = Mixture.from_json(data["mixture"]) if "mixture" in data else None
        return cls.of_sites(sites, ModelShape(**data["shape"]), mixture)
