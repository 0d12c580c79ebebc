"""A search space: which structures, at which sites, in which model shapes may be trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np

from einsearch.errors import EinsearchError
from einsearch.space.candidate import Candidate
from einsearch.space.constraint import Constraint
from einsearch.space.einsum import Einsum
from einsearch.space.families import btt, dense, kronecker, low_rank, tensor_train
from einsearch.space.mixture import Mixture
from einsearch.space.mixture_choices import MixtureChoices
from einsearch.space.model_shape import SITES, ModelShape
from einsearch.space.parametrization import coordinate_names, decode, encode, keep_greatest
from einsearch.space.parse import parse
from einsearch.space.structure import index_kinds
from einsearch.space.taxonomy import taxonomy

Params = dict[str, float | int]
"""What a sampler proposes: a float in [0, 1] for a coordinate, an int for a choice."""

MOST_FACTORS = 4
"""A continuous space of more factors has hundreds of coordinates."""

TAXONOMY_NAMES = ("omega", "psi", "nu")
"""What a condition says of the structure of every searched site."""

COST_NAMES = ("params", "active_params", "flops", "dense_params", "dense_flops")
"""What it says of the model: parameters (all, or those that one token uses) and training FLOPs a token of the linear
layers in blocks, routers included; of dense ones."""

_MIXTURE = "mixture."

_COUNTED = 20_000


@dataclass(frozen=True, slots=True)
class Choice:
    """A categorical parameter: an index below `options`."""

    options: int


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A float parameter in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """Structures (a list, or every einsum of `factors` factors) crossed with model widths and mixtures of experts.

    structures: the list; empty for a continuous space. zero: names of coordinates that are fixed to 0
    in a continuous space. max_indices: of a structure, in a continuous space. where: conditions on
    TAXONOMY_NAMES and COST_NAMES. sites: a key of SITES, which layers choose their structures together.
    fixed: (site, structure) of the sites that are not searched. mixture: the mixtures of experts; None: no
    candidate has any. widths: empty means that the study plans them from its budget.
    """

    name: str
    description: str = ""
    structures: tuple[Einsum, ...] = ()
    factors: int = 2
    zero: tuple[str, ...] = ()
    max_indices: int | None = None
    where: tuple[str, ...] = ()
    sites: str = "same"
    fixed: tuple[tuple[str, Einsum], ...] = ()
    mixture: MixtureChoices | None = None
    widths: tuple[int, ...] = ()
    depth: int = 2
    head_size: int = 16
    ffn_expansion: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.factors <= MOST_FACTORS:
            raise EinsearchError(f"factors is {self.factors}; a continuous space has 1 to {MOST_FACTORS}")
        if self.max_indices is not None and self.max_indices < 2:
            raise EinsearchError(
                f"max_indices is {self.max_indices}; a structure has at least 2, one of x and one of y"
            )
        names = coordinate_names(self.factors)
        known = names.values()
        for name in self.zero:
            if name not in known:
                raise EinsearchError(f"unknown exponent {name!r} under zero; known: {', '.join(known)}")
        for side, vertex in enumerate("xy"):
            own = [n for i, n in names.items() if i.side == side]
            if set(own) <= set(self.zero):
                raise EinsearchError(
                    f"every exponent of {vertex} is under zero ({', '.join(own)}), but they sum to 1; leave one out"
                )
        if self.sites not in SITES:
            raise EinsearchError(f"sites is {self.sites!r}; choose one of {', '.join(SITES)}")
        for site, _ in self.fixed:
            if site not in SITES[self.sites]:
                known_sites = ", ".join(SITES[self.sites])
                raise EinsearchError(f"unknown site {site!r} under fixed; with sites {self.sites}: {known_sites}")
        if not self.searched:
            raise EinsearchError("every site is under fixed; leave one out to search it")
        for text in self.where:
            _condition(text)
        for width in self.widths:
            self.shape(width)

    def to_json(self) -> dict[str, Any]:
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        fixed = {site: str(einsum) for site, einsum in self.fixed}
        mixture = None if self.mixture is None else self.mixture.to_json()
        structures = [str(einsum) for einsum in self.structures]
        return data | {"structures": structures, "fixed": fixed, "mixture": mixture}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SearchSpace:
        data = dict(data)
        if data.pop("separate_sites", False):  # how studies wrote it before a layer could choose alone
            data["sites"] = "separate"
        lists = {name: tuple(data.get(name, ())) for name in ("zero", "widths", "where")}
        fixed = tuple((site, parse(text)) for site, text in data.get("fixed", {}).items())
        structures = tuple(parse(text) for text in data["structures"])
        mixture = MixtureChoices.from_json(data["mixture"]) if data.get("mixture") else None
        return cls(**{**data, **lists, "structures": structures, "fixed": fixed, "mixture": mixture})

    @property
    def continuous(self) -> bool:
        return not self.structures

    def shape(self, width: int) -> ModelShape:
        return ModelShape(width=width, depth=self.depth, head_size=self.head_size, ffn_expansion=self.ffn_expansion)

    def with_widths(self, widths: tuple[int, ...]) -> SearchSpace:
        return replace(self, widths=widths)

    @property
    def searched(self) -> tuple[str, ...]:
        """The sites whose structures are searched; they prefix the structure's parameters."""
        fixed = dict(self.fixed)
        return tuple(site for site in SITES[self.sites] if site not in fixed)

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of the coordinates of one site's structure, in the order of the kinds of index."""
        return tuple(name for name in coordinate_names(self.factors).values() if name not in self.zero)

    def parameters(self) -> dict[str, Choice | Coordinate]:
        """What a sampler has to propose for :meth:`candidate`, by name."""
        found: dict[str, Choice | Coordinate] = {"width": Choice(len(self.widths))}
        for site in self.searched:
            if self.continuous:
                found |= {f"{site}.{name}": Coordinate() for name in self.coordinates}
            else:
                found[f"{site}.structure"] = Choice(len(self.structures))
        return found | {name: Choice(options) for name, options in self.mixture_options().items()}

    def mixture_options(self) -> dict[str, int]:
        """The parameters of the mixture, and how many options each has."""
        own = self.mixture.parameters() if self.mixture is not None else {}
        return {f"{_MIXTURE}{name}": options for name, options in own.items()}

    def candidate(self, params: Mapping[str, float | int]) -> Candidate:
        """The candidate that a sampler's proposal stands for; :meth:`refuses` says whether it may be trained."""
        sites = dict(self.fixed) | {site: self._einsum(site, params) for site in self.searched}
        return Candidate.of_sites(sites, self.shape(self.widths[int(params["width"])]), self._mixture(params))

    def _mixture(self, params: Mapping[str, float | int]) -> Mixture | None:
        if self.mixture is None:
            return None
        return self.mixture.mixture({n.removeprefix(_MIXTURE): int(params[n]) for n in self.mixture_options()})

    def _einsum(self, site: str, params: Mapping[str, float | int]) -> Einsum:
        if not self.continuous:
            return self.structures[int(params[f"{site}.structure"])]
        own = {name: float(params[key]) for name in self.coordinates if (key := f"{site}.{name}") in params}
        if self.max_indices is not None:
            names = coordinate_names(self.factors)
            row = np.array([[own.get(names[kind], -1.0) for kind in index_kinds(self.factors)]])
            kept = keep_greatest(self.factors, row, self.max_indices)[0]
            own = {name: value for name, value in zip(names.values(), kept, strict=True) if name in own}
        return decode(self.factors, own)

    def refuses(self, candidate: Candidate) -> str | None:
        """Why a candidate of this space may not be trained: it is invalid, or breaks a condition; else None."""
        if reason := candidate.invalid_because():
            return reason
        if not self.where:
            return None
        costs = costs_of(candidate)
        named = dict(zip(SITES["each"], candidate.einsums, strict=True))
        searched = {named[layer] for layer in SITES["each"] if self._is_searched(layer)}
        for einsum in searched:
            found = taxonomy(einsum)
            values = {"omega": found.omega, "psi": found.psi, "nu": found.nu} | costs
            for text in self.where:
                try:
                    held = _condition(text).holds(values)
                except EinsearchError as error:  # a name that it divides by is zero here
                    return f"condition {error}"
                if not held:
                    return f"condition {text!r} does not hold"
        return None

    def _is_searched(self, layer: str) -> bool:
        site = {"same": "all", "separate": "attention" if layer in "qkvo" else "ffn", "each": layer}[self.sites]
        return site in self.searched

    def known_first(self) -> Iterator[tuple[Params, Candidate]]:
        """What is tried before any sampler is asked: every listed structure, or the named families.

        At every width, the widths varying slowest; with the usual mixtures, these varying fastest. Only valid
        candidates, with their parameters.
        """
        usual = [{}] if self.mixture is None else list(self.mixture.usual())
        mixtures = [{f"{_MIXTURE}{name}": number for name, number in chosen.items()} for chosen in usual]
        for w, width in enumerate(self.widths):
            for structure, einsum in self._known_structures():
                sites = dict.fromkeys(self.searched, einsum) | dict(self.fixed)
                for mixture in mixtures:
                    params: Params = {"width": w} | structure | mixture
                    candidate = Candidate.of_sites(sites, self.shape(width), self._mixture(params))
                    if self.refuses(candidate) is None:
                        yield params, candidate

    def _known_structures(self) -> Iterator[tuple[Params, Einsum]]:
        if not self.continuous:
            for n, einsum in enumerate(self.structures):
                yield {f"{site}.structure": n for site in self.searched}, einsum
        elif self.factors > 1:
            k, rank = self.factors, dict(low_rank().exponents)[index_kinds(2)[-1]]
            families = (btt(factors=k), low_rank(factors=k), kronecker(k), btt(rank / k, k), tensor_train(factors=k))
            for einsum in families:
                coordinates = encode(einsum.canonical())
                if any(coordinates[name] > 0.5 for name in self.zero):
                    continue
                if self.max_indices is not None and len(einsum.indices) > self.max_indices:
                    continue
                own = {name: value for name, value in coordinates.items() if name not in self.zero}
                params: Params = {f"{site}.{n}": v for site in self.searched for n, v in own.items()}
                yield params, einsum

    def count(self) -> int | None:
        """The number of distinct valid candidates of a list; None for a continuous space.

        Where sites choose apart and the combinations are many, it is an upper bound: all of them.
        """
        if self.continuous:
            return None
        choices = [range(len(self.structures)) for _ in self.searched]
        mixtures = (None,) if self.mixture is None else self.mixture.all()
        combinations = len(self.widths) * prod(len(choice) for choice in choices) * len(mixtures)
        if combinations > _COUNTED:
            return combinations
        keys = set()
        for width, *numbers in product(self.widths, *choices):
            chosen = {site: self.structures[n] for site, n in zip(self.searched, numbers, strict=True)}
            for mixture in mixtures:
                candidate = Candidate.of_sites(chosen | dict(self.fixed), self.shape(width), mixture)
                if self.refuses(candidate) is None:
                    keys.add(candidate.key)
        return len(keys)

    def dearest(self, width: int) -> Candidate:
        """A candidate that costs at least as many FLOPs as any of this space: dense, with its dearest mixture."""
        shape = self.shape(width)
        mixtures = (None,) if self.mixture is None else self.mixture.all()
        return max((Candidate.of(dense(), shape, mixture) for mixture in mixtures), key=lambda c: c.counts().macs)


@lru_cache(maxsize=256)
def _condition(text: str) -> Constraint:
    return Constraint.parse(text, (*TAXONOMY_NAMES, *COST_NAMES))


def conditions_on_taxonomy(space: SearchSpace) -> list[Constraint]:
    """The conditions that speak of one site's structure alone."""
    return [c for text in space.where if (c := _condition(text)).names <= set(TAXONOMY_NAMES)]


@lru_cache(maxsize=4096)
def costs_of(candidate: Candidate) -> dict[str, int]:
    """The values of COST_NAMES. One MAC is 2 FLOPs, a training step three forwards."""
    own, plain = candidate.counts(), Candidate.dense(candidate.shape).counts()
    return {
        "params": own.parameters,
        "active_params": own.active_parameters,
        "flops": 6 * own.macs,
        "dense_params": plain.parameters,
        "dense_flops": 6 * plain.macs,
    }
