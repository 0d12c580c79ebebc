"""The study of mixtures: dense, standard MoE, BTT and BTT-MoE at equal training FLOPs. See README.md beside this.

python -m studies.mixtures.run            # trains what `results.json` lacks, then writes tables and figure
python -m studies.mixtures.run --tables   # trains nothing
"""

from __future__ import annotations

import json
import math
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from einsearch.bench.machine import processor_name
from einsearch.errors import EinsearchError
from einsearch.files import replace_file
from einsearch.proxy.corpus import load_corpus
from einsearch.proxy.device import prepare, setting_for, usable_cores
from studies.mixtures.design import FULL, SMALL, Design, Run
from studies.mixtures.figure import render
from studies.mixtures.tables import TABLES, with_tables
from studies.mixtures.trial import EVALUATIONS, time_steps, train

HERE = Path(__file__).parent
PAGES = (HERE / "README.md", HERE.parents[1] / "docs" / "mixtures.md")
"""Where the tables of the study stand."""

Results = dict[str, Any]


def main(
    output: Annotated[Path, typer.Option(help="Folder of results.json and loss.svg.")] = HERE,
    data: Annotated[Path | None, typer.Option(help="Text; left out it is Python's standard library.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder of the encoded text.")] = Path("runs/.data"),
    small: Annotated[bool, typer.Option("--small", help="A tiny version that takes seconds.")] = False,
    tables: Annotated[bool, typer.Option("--tables", help="Only write tables and figure.")] = False,
) -> None:
    """Train, or go on where it stopped; then write the tables and the figure."""
    if small and output == HERE:
        raise EinsearchError("--small would replace the results of the study; give another folder as --output")
    path = output / "results.json"
    results = read(path) if tables else carry_out(SMALL if small else FULL, path, data, cache)
    replace_file(output / "loss.svg", render(results), "figure")
    for name, table in TABLES.items():
        print(f"\n{name}\n\n{table(results)}")
    for page in PAGES if output == HERE else ():
        replace_file(page, with_tables(page.read_text(encoding="utf-8"), results), "page")


def carry_out(design: Design, path: Path, data: Path | None, cache: Path) -> Results:
    """Do what the results at `path` lack, writing them after every run. Raises EinsearchError if they are of others."""
    device = torch.device("cpu")
    prepare(device)
    corpus = load_corpus(data, cache)
    setting = setting_for(design.protocol, corpus, device)
    about = {"design": design.to_json(), "setting": setting.to_json(), "machine": machine()}
    results = about | {"step_times": [], "runs": []}
    if path.exists():
        results = read(path)
        for name in about:
            if results[name] != json.loads(json.dumps(about[name])):
                raise EinsearchError(
                    f"{path} is of another {name} and cannot be continued; remove it, or give another --output"
                )
    if not results["step_times"]:
        results["step_times"] = [each for level in design.levels for each in time_steps(design, level, corpus, device)]
        write(path, results)
    done = {tuple(record[name] for name in Run.__dataclass_fields__) for record in results["runs"]}
    left = [run for run in design.runs() if tuple(asdict(run).values()) not in done]
    print(f"{len(done)} runs done, {len(left)} to do: about {estimate(left, design, results) / 60:.1f} CPU minutes")
    for n, run in enumerate(left, start=1):
        began = time.perf_counter()
        record = train(run, design, corpus, device)
        results["runs"].append(record)
        write(path, results)
        loss = record["failure"] or f"{record['validation_loss']:.3f}"
        took = f"{time.perf_counter() - began:.0f} s, {record['cpu_seconds']:.0f} of the processor"
        print(f"{n}/{len(left)} {run.kind} {run.width} rate {run.rate:g} seed {run.seed}: {loss} ({took})", flush=True)
    return results


def machine() -> dict[str, Any]:
    """What speed depends on."""
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
    }


def estimate(runs: list[Run], design: Design, results: Results) -> float:
    """Processor seconds that runs take if none diverges, by the measured steps; a forward is a third of a step."""
    protocol = design.protocol
    validation = EVALUATIONS * math.ceil(protocol.validation_sequences / protocol.batch) / 3
    per_step = {(each["kind"], each["width"]): each["milliseconds"] / 1e3 for each in results["step_times"]}
    return sum((design.steps(run) + validation) * per_step[run.kind, run.width] for run in runs)


def read(path: Path) -> Results:
    if not path.exists():
        raise EinsearchError(f"there are no results at {path}; run the study first, without --tables")
    found: Results = json.loads(path.read_text(encoding="utf-8"))
    return found


def write(path: Path, results: Results) -> None:
    """Replace the results, a run a line."""
    parts = []
    for name, value in results.items():
        lines = ",\n".join(f"  {json.dumps(each)}" for each in value) if isinstance(value, list) else ""
        parts.append(f"{json.dumps(name)}: " + (f"[\n{lines}\n ]" if lines else json.dumps(value)))
    replace_file(path, "{" + ",\n ".join(parts) + "}\n", "results")


if __name__ == "__main__":
    try:
        typer.run(main)
    except EinsearchError as error:
        sys.exit(f"mixtures: {error}")
