"""The mixtures of experts of a search space: options for every field of a mixture, and no mixture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from einsearch.errors import EinsearchError
from einsearch.space.mixture import Mixture

PLAIN = "none"
"""The option of `per` that stands for no mixture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureChoices:
    """Every combination of one option of each field, as a mixture; see :class:`Mixture` for the fields.

    per: may also be `none`: the candidate without experts. layers: of the mixtures per layer, not searched;
    empty for all. An option that says nothing beside the others is left out: a balance where routing does not
    learn, a shared router or layers where experts are FFNs. The first option of each field is the usual one.

    Raises EinsearchError where a field has no options or one twice, or a combination is no mixture.
    """

    experts: tuple[int, ...]
    active: tuple[int, ...]
    per: tuple[str, ...] = ("layer",)
    routing: tuple[str, ...] = ("learned",)
    balance: tuple[str, ...] = ("loss",)
    shared_router: tuple[bool, ...] = (False,)
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, options in self._options().items():
            if not options:
                raise EinsearchError(f"{name} has no options; give at least one")
            for n, option in enumerate(options):
                if option in options[:n]:
                    raise EinsearchError(f"{name} has the option {option} twice; leave one out")
        if self.per == (PLAIN,):
            raise EinsearchError("per has no option but none; add layer or ffn")
        if self.layers and "layer" not in self.per:
            raise EinsearchError(
                f"layers are of mixtures per layer, but per is {', '.join(self.per)}; leave layers out"
            )
        self.all()

    def _options(self) -> dict[str, tuple[Any, ...]]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "layers"}

    def parameters(self) -> dict[str, int]:
        """The fields that are searched, and how many options each has."""
        return {name: len(options) for name, options in self._options().items() if len(options) > 1}

    def mixture(self, chosen: Mapping[str, int]) -> Mixture | None:
        """The mixture of the options with these numbers; a field that is not named has its first."""
        fields = {name: options[chosen.get(name, 0)] for name, options in self._options().items()}
        if fields["per"] == PLAIN:
            return None
        if fields["routing"] in ("random", "hash"):
            del fields["balance"]
        if fields["per"] == "ffn":
            del fields["shared_router"]
        else:
            fields["layers"] = self.layers
        return Mixture(**fields)

    def usual(self) -> Iterator[dict[str, int]]:
        """For every option of `per`, the first of every other field."""
        searched = self.parameters()
        for number in range(len(self.per)):
            yield dict.fromkeys(searched, 0) | ({"per": number} if "per" in searched else {})

    def all(self) -> tuple[Mixture | None, ...]:
        """Every mixture once, None for the candidate without."""
        searched = self.parameters()
        numbers = product(*map(range, searched.values()))
        return tuple(dict.fromkeys(self.mixture(dict(zip(searched, chosen, strict=True))) for chosen in numbers))

    def __str__(self) -> str:
        """One line: `per none, layer; experts 4, 8; active 2; ...`."""
        parts = [f"{name.replace('_', ' ')} {', '.join(map(_word, held))}" for name, held in self._options().items()]
        return "; ".join([*parts, *([f"layers {' '.join(self.layers)}"] if self.layers else [])])

    def to_json(self) -> dict[str, Any]:
        return {name: list(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MixtureChoices:
        return cls(**{name: tuple(options) for name, options in data.items()})


def _word(option: object) -> str:
    return {True: "yes", False: "no"}[option] if isinstance(option, bool) else str(option)
