"""How a trial is trained: everything but the candidate and its seed."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from einsearch.errors import EinsearchError
from einsearch.layers.parametrize import require_optimizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Hyper-parameters of proxy training. Two losses compare only under the same protocol.

    context: tokens of a sequence. batch: sequences of a step. optimizer: `adamw`, with beta1, beta2 and
    epsilon, or `sgd`, with momentum. learning_rate: at base_width with an MLP expansion of
    base_ffn_expansion (muP scales it from there; 1 is the paper's choice). The default suits Adam; SGD
    needs one about a hundred times as large. warmup_steps: linear warm-up, constant after. weight_decay:
    of matrices; a step takes learning_rate * weight_decay of them off, at every width. clip: norm of the
    gradient, see :func:`einsearch.proxy.optimizer.clip_gradients`. residual: branches are scaled by
    sqrt(3 / depth) (`paper`) or 1 / depth (`completep`). weight_normalization: of the factors of einsum
    layers. balance_weight: of the mean of the routers' balance losses, beside the loss. embedding_std: of
    the token and position embeddings at start. validation_sequences: of the fixed validation set.
    evaluations_per_octave: validation losses for each doubling of FLOPs.
    """

    context: int = 64
    batch: int = 32
    optimizer: str = "adamw"
    learning_rate: float = 3e-3
    base_width: int = 64
    base_ffn_expansion: int = 4
    warmup_steps: int = 10
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip: float = 1.0
    residual: str = "paper"
    weight_normalization: bool = True
    balance_weight: float = 0.01
    embedding_std: float = 0.02
    validation_sequences: int = 128
    evaluations_per_octave: int = 2

    def __post_init__(self) -> None:
        for name in (
            "context",
            "batch",
            "base_width",
            "base_ffn_expansion",
            "validation_sequences",
            "evaluations_per_octave",
        ):
            if getattr(self, name) < 1:
                raise EinsearchError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.warmup_steps < 0:
            raise EinsearchError(f"warmup_steps is {self.warmup_steps}; it must be at least 0")
        for name in ("learning_rate", "epsilon", "clip", "embedding_std"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise EinsearchError(f"{name} is {getattr(self, name)}; it must be a positive number")
        for name in ("beta1", "beta2", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise EinsearchError(f"{name} is {getattr(self, name)}; it must lie in [0, 1)")
        for name in ("weight_decay", "balance_weight"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise EinsearchError(f"{name} is {getattr(self, name)}; it must be at least 0")
        require_optimizer(self.optimizer)
        if self.residual not in ("paper", "completep"):
            raise EinsearchError(f"residual is {self.residual!r}; known: paper, completep")

    @property
    def tokens_per_step(self) -> int:
        return self.context * self.batch

    def residual_scale(self, depth: int) -> float:
        """What a residual branch is multiplied by, in a model of `depth` blocks."""
        return math.sqrt(3 / depth) if self.residual == "paper" else 1 / depth

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of 0-based step `step`, before the muP multipliers."""
        if step >= self.warmup_steps:
            return self.learning_rate
        return self.learning_rate * (step + 1) / self.warmup_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A protocol and where it runs: what two runs must share for their losses to be compared.

    code: version and digest of the training code. data_hash: of the corpus. torch: its version.
    device: kind of device (`cpu` or `cuda`). precision: of the matrix products.
    """

    protocol: Protocol
    code: str
    data_name: str
    data_hash: str
    torch: str
    device: str
    precision: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Setting:
        return cls(**(data | {"protocol": Protocol(**data["protocol"])}))

    @property
    def id(self) -> str:
        """16 hex digits of all the fields but the data's name."""
        fields = self.to_json()
        del fields["data_name"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]
