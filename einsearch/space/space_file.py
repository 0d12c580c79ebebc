"""Search space files: the schema of `search_spaces/*.yaml`, and where they are found."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum
from einsearch.space.families import NAMED, from_name
from einsearch.space.mixture_choices import MixtureChoices
from einsearch.space.model_shape import ModelShape
from einsearch.space.parse import parse
from einsearch.space.search_space import SearchSpace
from einsearch.space.yaml_file import read_yaml


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Structure(_Strict):
    """One listed structure: a theta or einsum string, or a family with its rank exponent."""

    theta: str | None = None
    family: str | None = None
    rank: float | str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Structure:
        if (self.theta is None) == (self.family is None):
            raise ValueError("give either theta or family")
        if self.theta is not None and self.rank is not None:
            raise ValueError("rank goes with family; theta has its own rho")
        if self.family is not None and self.family not in NAMED:
            raise ValueError(f"unknown family {self.family!r}; known: {', '.join(NAMED)}")
        try:
            self.einsum()
        except EinsearchError as error:
            raise ValueError(str(error)) from None
        return self

    def einsum(self) -> Einsum:
        if self.theta is not None:
            return parse(self.theta)
        return from_name(str(self.family) if self.rank is None else f"{self.family}({self.rank})")


class Continuous(_Strict):
    """Every einsum of `factors` factors.

    The coordinates under `zero` are fixed to 0; a structure has at most `max_indices` indices.
    """

    factors: int = 2
    zero: list[str] = []
    max_indices: int | None = None

    @model_validator(mode="after")
    def _known_exponents(self) -> Continuous:
        try:
            SearchSpace(name="", factors=self.factors, zero=tuple(self.zero), max_indices=self.max_indices)
        except EinsearchError as error:
            raise ValueError(str(error)) from None
        return self


class Structures(_Strict):
    """Either a list or a continuous space."""

    listed: list[Structure] | None = Field(default=None, alias="list")
    continuous: Continuous | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Structures:
        if (self.listed is None) == (self.continuous is None):
            raise ValueError("give either list or continuous")
        if self.listed == []:
            raise ValueError("the list is empty; name at least one structure")
        return self


class Mixtures(_Strict):
    """Options for the mixtures of experts: one, or a list; see :class:`MixtureChoices`."""

    experts: list[int]
    active: list[int]
    per: list[str] = ["layer"]
    routing: list[str] = ["learned"]
    balance: list[str] = ["loss"]
    shared_router: list[bool] = [False]
    layers: list[str] = []

    @field_validator("*", mode="before")
    @classmethod
    def _one_or_many(cls, options: object) -> object:
        return options if isinstance(options, list | dict) else [options]

    @model_validator(mode="after")
    def _combine(self) -> Mixtures:
        try:
            self.choices()
        except EinsearchError as error:
            raise ValueError(str(error)) from None
        return self

    def choices(self) -> MixtureChoices:
        return MixtureChoices(**{name: tuple(options) for name, options in self})


class Model(_Strict):
    """The transformer around the searched layers; widths left out are planned from the budget."""

    widths: list[int] = []
    depth: int = Field(default=2, ge=1)
    head_size: int = Field(default=16, ge=1)
    ffn_expansion: int = Field(default=4, ge=1)
    sites: Literal["same", "separate", "each"] = "same"
    fixed: dict[str, str] = {}

    @model_validator(mode="after")
    def _fits(self) -> Model:
        try:
            for width in self.widths:
                ModelShape(width=width, depth=self.depth, head_size=self.head_size, ffn_expansion=self.ffn_expansion)
            SearchSpace(name="", sites=self.sites, fixed=self.fixed_sites())
        except EinsearchError as error:
            raise ValueError(str(error)) from None
        return self

    def fixed_sites(self) -> tuple[tuple[str, Einsum], ...]:
        return tuple((site, parse(text)) for site, text in self.fixed.items())


class SpaceFile(_Strict):
    """A search space file."""

    name: str
    description: str = ""
    structures: Structures
    where: list[str] = []
    mixture: Mixtures | None = None
    model: Model = Model()

    @field_validator("where", mode="before")
    @classmethod
    def _one_or_many(cls, where: object) -> object:
        return [where] if isinstance(where, str) else where

    @field_validator("where")
    @classmethod
    def _conditions(cls, where: list[str]) -> list[str]:
        try:
            SearchSpace(name="", where=tuple(where))
        except EinsearchError as error:
            raise ValueError(str(error)) from None
        return where

    def space(self) -> SearchSpace:
        continuous = self.structures.continuous or Continuous()
        return SearchSpace(
            name=self.name,
            description=self.description,
            structures=tuple(s.einsum() for s in self.structures.listed or ()),
            factors=continuous.factors,
            zero=tuple(continuous.zero),
            max_indices=continuous.max_indices,
            where=tuple(self.where),
            sites=self.model.sites,
            fixed=self.model.fixed_sites(),
            mixture=self.mixture.choices() if self.mixture is not None else None,
            widths=tuple(self.model.widths),
            depth=self.model.depth,
            head_size=self.model.head_size,
            ffn_expansion=self.model.ffn_expansion,
        )


def load_space(name_or_path: str | Path) -> SearchSpace:
    """A shipped space by name (`two-factor`, `paper`, `btt`, ...) or a YAML file by its path.

    Raises EinsearchError for an unknown name, and for a file that cannot be read or is wrong.
    """
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


def shipped() -> list[str]:
    """Names of the search spaces that come with the package."""
    folder = resources.files("einsearch.search_spaces")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def read_space(text: str, source: str) -> SearchSpace:
    """A search space from YAML text; `source` names it in messages."""
    return read_yaml(text, source, SpaceFile).space()
