"""The coordinate check at widths 64 to 1024: the powers of the width that changes of activations follow.

nice python studies/learning-rate-transfer/coordinates.py
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from einsearch.files import replace_file
from einsearch.proxy.coordinates import coordinate_changes, width_slopes
from einsearch.proxy.device import prepare
from einsearch.proxy.gpt2 import ProxyGPT2
from einsearch.proxy.optimizer import optimizer_of
from einsearch.proxy.protocol import Protocol, Setting
from einsearch.proxy.vocabulary import VOCABULARY_SIZE
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.mixture import Mixture
from einsearch.space.parse import parse

RESULTS = Path(__file__).parent / "results" / "coordinates.json"
WIDTHS, SEEDS, STEPS = (64, 128, 256, 512, 1024), 3, 8
KINDS: dict[str, tuple[str, Mixture | None]] = {
    "dense": ("dense", None),
    "BTT rank 1": ("btt", None),
    "BTT rank d^1/4": ("btt(1/4)", None),
    "low rank d^1/2": ("low-rank", None),
    "Kronecker": ("kronecker", None),
    "Tensor-Train rank d^1/4": ("tensor-train(1/4)", None),
    "no name (1/2|1/4|1/4|1/4|1/2|1/4|1/4)": ("(1/2|1/4|1/4|1/4|1/2|1/4|1/4)", None),
    "Monarch of three factors": ("monarch(factors=3)", None),
    "BTT-MoE 2/4": ("btt", Mixture(experts=4, active=2)),
    "low-rank MoE 2/4": ("low-rank", Mixture(experts=4, active=2)),
    "standard MoE 2/4": ("dense", Mixture(experts=4, active=2, per="ffn")),
}
ADAM = Protocol(context=16, batch=8, learning_rate=2e-3)
WAYS: dict[str, tuple[Protocol, bool]] = {
    "AdamW": (ADAM, True),
    "AdamW, width ignored": (ADAM, False),
    "SGD": (replace(ADAM, optimizer="sgd", learning_rate=1.0, momentum=0.0), True),
}
"""Protocols, and whether learning rates are those of width 64 or of the width itself."""


def changes(kind: str, protocol: Protocol, width: int, seed: int) -> dict[str, float]:
    structure, mixture = KINDS[kind]
    model = ProxyGPT2(Candidate.of(parse(structure), ModelShape(width=width), mixture), protocol, seed)
    setting = Setting(
        protocol=protocol, code="", data_name="", data_hash="", torch="", device="cpu", precision="float32"
    )
    shape, generator = (protocol.batch, protocol.context + 1), torch.Generator().manual_seed(seed)
    window = torch.randint(VOCABULARY_SIZE, shape, generator=generator)
    return coordinate_changes(model, optimizer_of(model, setting), window, STEPS)


def mean(found: list[dict[str, float]]) -> dict[str, float]:
    """Root mean square over seeds."""
    return {name: math.sqrt(sum(one[name] ** 2 for one in found) / len(found)) for name in found[0]}


def main() -> None:
    prepare(torch.device("cpu"))
    held: dict[str, Any] = {"widths": WIDTHS, "seeds": SEEDS, "steps": STEPS, "torch": torch.__version__}
    for way, (protocol, scaled) in WAYS.items():
        for kind in KINDS:
            found = {}
            for width in WIDTHS:
                own = protocol if scaled else replace(protocol, base_width=width)
                found[width] = mean([changes(kind, own, width, seed) for seed in range(SEEDS)])
            slopes = {name: round(slope, 3) for name, slope in width_slopes(found).items()}
            values = {width: {name: round(value, 5) for name, value in one.items()} for width, one in found.items()}
            held.setdefault("changes", {}).setdefault(way, {})[kind] = {"powers": slopes, "changes": values}
            print(f"{way:22s}{kind:40s}", *(f"{name} {slope:+.2f}" for name, slope in slopes.items()), flush=True)
            replace_file(RESULTS, json.dumps(held, indent=1) + "\n", "results")


if __name__ == "__main__":
    main()
