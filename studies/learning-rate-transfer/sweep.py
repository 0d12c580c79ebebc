"""Does the best learning rate stay where it is when the width grows? With muP, and without.

Structures are trained at two widths over a grid of learning rates, with equal tokens. With muP learning rates are
those of width 64. Without, base_width is the width itself: a structure keeps its multipliers relative to dense, but
nothing is scaled with the width; at width 64 that is the same. Runs that are in the results are not repeated.

    nice python studies/learning-rate-transfer/sweep.py
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from einsearch.files import replace_file
from einsearch.proxy.corpus import Corpus, load_corpus
from einsearch.proxy.device import prepare, setting_for
from einsearch.proxy.protocol import Protocol
from einsearch.proxy.trainer import Segment, train_segment
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.parse import parse

RESULTS = Path(__file__).parent / "results" / "sweep.json"
CPU = torch.device("cpu")
STEPS, LAST = 200, 40
"""Of a run; the steps at its end over which the training loss is averaged."""

BASE, WIDE = 64, 256
PROTOCOL = Protocol(context=64, batch=16, base_width=BASE, validation_sequences=64)
GRID = [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016]
STRUCTURES = ("dense", "btt", "low-rank")


def planned() -> Iterator[dict[str, Any]]:
    """Every run, the quick ones first; seed 1 only with muP."""
    for width, scaling, seed in (
        (BASE, "muP", 0),
        (BASE, "muP", 1),
        (WIDE, "muP", 0),
        (WIDE, "muP", 1),
        (WIDE, "none", 0),
    ):
        for structure in reversed(STRUCTURES):
            for rate in GRID:
                yield {"structure": structure, "width": width, "scaling": scaling, "seed": seed, "learning_rate": rate}


def train(run: dict[str, Any], corpus: Corpus) -> dict[str, Any]:
    """The outcome of a run. Losses in nats a symbol: mean of training over the last steps, validation at the end."""
    base = BASE if run["scaling"] == "muP" else run["width"]
    protocol = replace(PROTOCOL, base_width=base, learning_rate=run["learning_rate"])
    candidate = Candidate.of(parse(run["structure"]), ModelShape(width=run["width"]))
    with tempfile.TemporaryDirectory() as folder:
        segment = Segment(
            candidate=candidate,
            seed=run["seed"],
            start=0,
            end=STEPS,
            evaluate_at=(STEPS - LAST, STEPS),
            folder=Path(folder),
        )
        result = train_segment(segment, setting_for(protocol, corpus, CPU), corpus, CPU)
    last = result.points[-1] if result.failure is None else None
    return {
        "train_loss": last and round(last.train_loss, 5),
        "validation_loss": last and round(last.validation_loss, 5),
        "failure": result.failure,
        "seconds": round(result.busy_seconds, 1),
    }


def main() -> None:
    prepare(CPU)
    with tempfile.TemporaryDirectory() as cache:
        corpus = load_corpus(None, Path(cache))
        about = {"protocol": setting_for(PROTOCOL, corpus, CPU).to_json(), "steps": STEPS, "averaged_steps": LAST}
        held = json.loads(RESULTS.read_text()) if RESULTS.exists() else about | {"runs": []}
        for run in planned():
            if any(run.items() <= done.items() for done in held["runs"]):
                continue
            held["runs"].append(run | train(run, corpus))
            replace_file(RESULTS, json.dumps(held, indent=1) + "\n", "results")
            print(held["runs"][-1], flush=True)


if __name__ == "__main__":
    main()
