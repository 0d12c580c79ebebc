"""Mixtures of experts: which layers hold them, how a token finds its experts, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from einsearch.errors import EinsearchError
from einsearch.space.model_shape import FFN_LAYERS, LAYERS
from einsearch.space.operator import Operator

OPTIONS = {
    "per": ("layer", "ffn"),
    "routing": ("learned", "random", "hash"),
    "balance": ("loss", "bias", "none"),
}
"""What the fields of a :class:`Mixture` that hold a name may be."""

SHARING = ("q", "k", "v")
"""The layers that a shared router serves: they read the same input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Exact counts of a part of a model, weight normalization's gains left out.

    parameters: all; active_parameters: those that one token uses; macs: of one token's forward.
    """

    parameters: int = 0
    active_parameters: int = 0
    macs: int = 0

    @classmethod
    def sum(cls, parts: Iterable[Counts]) -> Counts:
        held = list(parts)
        return cls(**{name: sum(getattr(part, name) for part in held) for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Layers that hold several experts of one structure, of which each token uses `active`.

    y = sum over the active experts e of gate_e * op_e(x). An expert is a copy of the base einsum: the
    expert index is one more index of every factor. On a BTT of rank 1 it is the rank index.

    per: `layer` (each of `layers` is a mixture with a router of its own), or `ffn` (an expert is a whole
    FFN: up, GELU, down, behind one router: the standard mixture of experts).
    routing: `learned`; `random` (uniform, new in every step); `hash` (of the token's id, fixed).
    balance: of learned routing: `loss`, `bias` (free of a loss), or `none`. Left out it is `loss`; other
    routings are even by themselves and have `none`.
    shared_router: q, k and v have one router.
    layers: that hold experts; left out all that `per` allows.

    Raises EinsearchError where the fields do not fit together.
    """

    experts: int
    active: int
    per: str = "layer"
    routing: str = "learned"
    balance: str | None = None
    shared_router: bool = False
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("experts", 2), ("active", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise EinsearchError(f"{name} of a mixture is {value}; it must be an integer of at least {least}")
        if self.experts < self.active:
            raise EinsearchError(
                f"a mixture of {self.experts} experts has {self.active} active; give at least as many experts as active"
            )
        learned = self.routing == "learned"
        if self.balance is None:
            object.__setattr__(self, "balance", "loss" if learned else "none")
        for name, known in OPTIONS.items():
            if getattr(self, name) not in known:
                raise EinsearchError(
                    f"{name} of a mixture is {getattr(self, name)!r}; choose one of {', '.join(known)}"
                )
        if not learned and self.balance != "none":
            raise EinsearchError(
                f"balance is {self.balance!r}, but {self.routing} routing learns nothing to balance; leave balance out"
            )
        self._check_layers()

    def _check_layers(self) -> None:
        allowed = FFN_LAYERS if self.per == "ffn" else LAYERS
        for name in self.layers:
            if name not in allowed:
                raise EinsearchError(
                    f"layers of a mixture per {self.per} are some of {', '.join(allowed)}, not {name!r}"
                )
        object.__setattr__(self, "layers", tuple(n for n in allowed if n in self.layers or not self.layers))
        if self.per == "ffn" and self.layers != FFN_LAYERS:
            raise EinsearchError(f"an expert per ffn is up and down together, not {self.layers[0]} alone")
        missing = [name for name in SHARING if name not in self.layers]
        if self.shared_router and missing:
            raise EinsearchError(
                f"shared_router serves q, k and v, but {', '.join(missing)} of this mixture per {self.per} "
                "hold no experts; leave shared_router out"
            )

    @property
    def routers(self) -> dict[str, tuple[str, ...]]:
        """The routers of a block by name, and the layers that each serves; it reads the input of the first."""
        if self.per == "ffn":
            return {"ffn": self.layers}
        if not self.shared_router:
            return {name: (name,) for name in self.layers}
        return {"qkv": SHARING} | {name: (name,) for name in self.layers if name not in SHARING}

    def layer_counts(self, layer: Operator) -> Counts:
        """Of the experts of a layer, each of them `layer`."""
        return Counts(
            parameters=self.experts * layer.parameters,
            active_parameters=self.active * layer.parameters,
            macs=self.active * layer.macs,
        )

    def router_counts(self, d_in: int) -> Counts:
        """Of a router: a d_in x experts matrix where it learns, else nothing."""
        entries = d_in * self.experts if self.routing == "learned" else 0
        return Counts(parameters=entries, active_parameters=entries, macs=entries)

    @property
    def place(self) -> str:
        """Where the experts are, if not in every linear layer: `per FFN`, `on o up`, or nothing."""
        if self.per == "ffn":
            return "per FFN"
        return "" if self.layers == LAYERS else f"on {' '.join(self.layers)}"

    def text(self, place: str) -> str:
        """`MoE 2/8` (two active of eight) and the place, then what is not as by default."""
        words = [f"MoE {self.active}/{self.experts} {place}".rstrip()]
        if self.routing != "learned":
            words.append(f"{self.routing} routing")
        elif self.balance != "loss":
            words.append("bias balance" if self.balance == "bias" else "no balance")
        if self.shared_router:
            words.append("shared router")
        return ", ".join(words)

    def __str__(self) -> str:
        return self.text(self.place)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"layers": list(self.layers)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Mixture:
        return cls(**{**data, "layers": tuple(data["layers"])})
