"""A search space: which structures, at which sites, in which model shapes may be trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

from einsearch.errors import EinsearchError
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.einsum import Einsum
from einsearch.space.families import btt, kronecker, low_rank, tensor_train
from einsearch.space.notation import parse, write
from einsearch.space.parametrization import coordinate_names, decode, encode

Params = dict[str, float | int]
"""What a sampler proposes: a float in [0, 1] for a coordinate, an int for a choice."""

SITES = ("attention", "ffn")


@dataclass(frozen=True, slots=True)
class Choice:
    """A categorical parameter: an index below `options`."""

    options: int


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A float parameter in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """Structures (a list, or every einsum of `factors` factors) crossed with model widths.

    structures: the list; empty for a continuous space. zero: names of coordinates that are fixed to 0
    in a continuous space. separate_sites: attention and MLP choose their structures independently.
    widths: empty means that the study plans them from its budget.
    """

    name: str
    description: str = ""
    structures: tuple[Einsum, ...] = ()
    factors: int = 2
    zero: tuple[str, ...] = ()
    separate_sites: bool = False
    widths: tuple[int, ...] = ()
    depth: int = 2
    head_size: int = 16
    ffn_expansion: int = 4

    def __post_init__(self) -> None:
        names = coordinate_names(self.factors)
        known = names.values()
        for name in self.zero:
            if name not in known:
                raise EinsearchError(f"unknown exponent {name!r} under zero; known: {', '.join(known)}")
        for side in ("x", "y"):
            own = [n for i, n in names.items() if (i.in_x if side == "x" else i.in_y)]
            if set(own) <= set(self.zero):
                raise EinsearchError(
                    f"every exponent of {side} is under zero ({', '.join(own)}), but they sum to 1; leave one out"
                )
        for width in self.widths:
            self.shape(width)

    @classmethod
    def load(cls, name_or_path: str | Path) -> SearchSpace:
        """A shipped space by name (`two-factor`, `paper`, `btt`) or a YAML file by its path."""
        from einsearch.space.space_file import read_space

        path = Path(name_or_path)
        if path.suffix in (".yaml", ".yml"):
            if not path.is_file():
                raise EinsearchError(f"no search space file at {path}; shipped spaces: {', '.join(shipped())}")
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise EinsearchError(f"cannot read search space {path}: {error}; give a UTF-8 text file") from None
            return read_space(text, str(path))
        if str(name_or_path) not in shipped():
            raise EinsearchError(
                f"unknown search space {str(name_or_path)!r}; shipped: {', '.join(shipped())}; "
                "or give the path of a .yaml file"
            )
        source = resources.files("einsearch.search_spaces") / f"{name_or_path}.yaml"
        return read_space(source.read_text(encoding="utf-8"), f"{name_or_path}.yaml")

    def to_json(self) -> dict[str, Any]:
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return data | {"structures": [write(einsum) for einsum in self.structures]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SearchSpace:
        lists = {name: tuple(data[name]) for name in ("zero", "widths")}
        return cls(**{**data, **lists, "structures": tuple(parse(text) for text in data["structures"])})

    @property
    def continuous(self) -> bool:
        return not self.structures

    def shape(self, width: int) -> ModelShape:
        return ModelShape(width=width, depth=self.depth, head_size=self.head_size, ffn_expansion=self.ffn_expansion)

    def with_widths(self, widths: tuple[int, ...]) -> SearchSpace:
        return replace(self, widths=widths)

    @property
    def sites(self) -> tuple[str, ...]:
        """Prefixes of the structure's parameters: one, or one a site."""
        return SITES if self.separate_sites else ("all",)

    def parameters(self) -> dict[str, Choice | Coordinate]:
        """What a sampler has to propose for :meth:`candidate`, by name."""
        found: dict[str, Choice | Coordinate] = {"width": Choice(len(self.widths))}
        for site in self.sites:
            if self.continuous:
                names = [n for n in coordinate_names(self.factors).values() if n not in self.zero]
                found |= {f"{site}.{name}": Coordinate() for name in names}
            else:
                found[f"{site}.structure"] = Choice(len(self.structures))
        return found

    def candidate(self, params: Mapping[str, float | int]) -> Candidate:
        """The candidate that a sampler's proposal stands for; it may still be invalid to train."""
        found = [self._einsum(site, params) for site in self.sites]
        return Candidate(attention=found[0], ffn=found[-1], shape=self.shape(self.widths[int(params["width"])]))

    def _einsum(self, site: str, params: Mapping[str, float | int]) -> Einsum:
        if not self.continuous:
            return self.structures[int(params[f"{site}.structure"])]
        prefix = f"{site}."
        own = {k.removeprefix(prefix): float(v) for k, v in params.items() if k.startswith(prefix)}
        return decode(self.factors, own)

    def known_first(self) -> Iterator[tuple[Params, Candidate]]:
        """What is tried before any sampler is asked: every listed structure, or the named families.

        At every width, the widths varying slowest; only valid candidates, with their parameters.
        """
        for w, width in enumerate(self.widths):
            for params, einsum in self._known_structures():
                candidate = Candidate.of(einsum, self.shape(width))
                if candidate.invalid_because() is None:
                    yield {"width": w} | params, candidate

    def _known_structures(self) -> Iterator[tuple[Params, Einsum]]:
        if not self.continuous:
            for n, einsum in enumerate(self.structures):
                yield {f"{site}.structure": n for site in self.sites}, einsum
        elif self.factors == 2:
            for einsum in (btt(), low_rank(), kronecker(), btt(low_rank().theta[-1] / 2), tensor_train()):
                coordinates = encode(einsum.canonical())
                if any(coordinates[name] > 0.5 for name in self.zero):
                    continue
                own = {name: value for name, value in coordinates.items() if name not in self.zero}
                params: Params = {f"{site}.{n}": v for site in self.sites for n, v in own.items()}
                yield params, einsum

    def count(self) -> int | None:
        """The number of distinct valid candidates of a list; None for a continuous space."""
        if self.continuous:
            return None
        choices = [range(len(self.structures)) for _ in self.sites]
        keys = set()
        for width, *structures in product(range(len(self.widths)), *choices):
            params: dict[str, Any] = {"width": width}
            params |= {f"{s}.structure": n for s, n in zip(self.sites, structures, strict=True)}
            candidate = self.candidate(params)
            if candidate.invalid_because() is None:
                keys.add(candidate.key)
        return len(keys)


def shipped() -> list[str]:
    """Names of the search spaces that come with the package."""
    folder = resources.files("einsearch.search_spaces")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))
