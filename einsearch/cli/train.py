"""`einsearch train EXPR`: one candidate, without a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from einsearch.cli.options import DeviceOption, JsonOption, QuietOption, RunsOption, console, print_json
from einsearch.errors import EinsearchError
from einsearch.layers.implementations import IMPLEMENTATIONS
from einsearch.proxy.corpus import load_corpus
from einsearch.proxy.device import devices, prepare, setting_for
from einsearch.proxy.flops import flops_per_step, parameter_count
from einsearch.proxy.parallel import train_in_parallel
from einsearch.proxy.protocol import Protocol
from einsearch.proxy.trainer import Point, Segment, train_segment
from einsearch.search.config import parse_flops, write_flops
from einsearch.search.study import RUNS
from einsearch.space.candidate import Candidate
from einsearch.space.mixture import Mixture
from einsearch.space.model_shape import ModelShape
from einsearch.space.parse import parse

_SEGMENTS = 10


def train(
    structure: Annotated[str, typer.Argument(help="A theta, a family name or an einsum string.")],
    width: Annotated[int, typer.Option(help="Channels of the residual stream.")] = 64,
    flops: Annotated[str, typer.Option(help="Training FLOPs.")] = "1e11",
    depth: Annotated[int, typer.Option(help="Blocks.")] = 2,
    head_size: Annotated[int, typer.Option(help="Channels of an attention head.")] = 16,
    data: Annotated[
        Path | None, typer.Option(help="A text file or folder; default: Python's standard library.")
    ] = None,
    experts: Annotated[int | None, typer.Option(help="A mixture of so many experts in place of each layer.")] = None,
    active: Annotated[int, typer.Option(help="Experts that a token uses.")] = 2,
    per: Annotated[str, typer.Option(help="layer: each has its own experts; ffn: an expert is an FFN.")] = "layer",
    routing: Annotated[str, typer.Option(help="learned, random or hash.")] = "learned",
    seed: Annotated[int, typer.Option(help="Of initialisation and batches.")] = 0,
    implementation: Annotated[str, typer.Option(help=f"auto, {', '.join(IMPLEMENTATIONS)}.")] = "auto",
    processes: Annotated[int, typer.Option(help="Train data-parallel, with a process for each of so many GPUs.")] = 1,
    runs: RunsOption = RUNS,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Train one candidate and print its curve. The same command continues an interrupted one."""
    out = console(quiet=quiet or json)
    mixture = None if experts is None else Mixture(experts=experts, active=active, per=per, routing=routing)
    candidate = Candidate.of(parse(structure), ModelShape(width=width, depth=depth, head_size=head_size), mixture)
    if reason := candidate.invalid_because():
        raise EinsearchError(f"structure {structure} cannot be trained: {reason}")
    protocol = Protocol()
    places = _places(device, processes)
    place = places[0]
    prepare(place)
    corpus = load_corpus(data, runs / ".data")
    setting = setting_for(protocol, corpus, place)
    step_flops = flops_per_step(candidate, protocol.context, protocol.batch)
    steps = parse_flops(flops, "flops") // step_flops
    if steps < 1:
        raise EinsearchError(
            f"flops {flops} is less than one step of this model; give at least {write_flops(step_flops)}"
        )
    folder = runs / "train" / f"{candidate.key}-{seed}-{setting.id}"
    out.print(f"{candidate.label} {candidate.theta}, key {candidate.key}, seed {seed}")
    parameters = parameter_count(candidate, protocol.context, protocol.weight_normalization)
    out.print(
        f"{parameters:,} parameters; {steps} steps of {write_flops(step_flops)} FLOPs; {corpus.description}; {place}"
    )
    done = max((int(path.name.removeprefix("step-")) for path in folder.glob("step-*")), default=0)
    if done >= steps:
        raise EinsearchError(
            f"{folder} holds a checkpoint at step {done}, at or past step {steps}; give more --flops or remove it"
        )
    if done:
        out.print(f"continues from the checkpoint at step {done}")
    points: list[Point] = []
    start = done
    while start < steps:
        end = min(steps, start + max(1, -(-steps // _SEGMENTS)))
        segment = Segment(
            candidate=candidate,
            seed=seed,
            start=start,
            end=end,
            evaluate_at=(end,),
            folder=folder,
            implementation=implementation,
        )
        if len(places) == 1:
            result = train_segment(segment, setting, corpus, place)
        else:
            result = train_in_parallel(segment, setting, corpus, places)
        if result.failure:
            raise EinsearchError(f"{result.failure}; the last checkpoint is at step {start}")
        point = result.points[-1]
        points.append(point)
        out.print(
            f"step {end:6d}  {write_flops(point.flops):>8} FLOPs  training {point.train_loss:.4f}  "
            f"validation {point.validation_loss:.4f}  {result.tokens / result.seconds:,.0f} tokens/s"
        )
        start = end
    if json:
        print_json(
            {
                "key": candidate.key,
                "theta": candidate.theta,
                "flops": points[-1].flops,
                "validation_loss": points[-1].validation_loss,
                "implementations": result.implementations,
                "checkpoint": str(result.checkpoint),
            }
        )
    else:
        out.print(f"checkpoint: {result.checkpoint}", soft_wrap=True)


def _places(device: str, processes: int) -> list[torch.device]:
    """The devices of the processes; those of a CPU share it. EinsearchError where there are fewer GPUs."""
    found = devices(device)
    if processes < 1:
        raise EinsearchError(f"processes is {processes}; it must be at least 1")
    if found[0].type == "cpu":
        return found * processes
    if processes > len(found):
        raise EinsearchError(
            f"processes is {processes}, but this machine has {len(found)} GPUs; give at most that many"
        )
    return found[:processes]
