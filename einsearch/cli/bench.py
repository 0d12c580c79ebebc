"""`einsearch bench`: how fast layers and models are on this machine."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from einsearch.bench.cases import Case, cases, chosen_implementations
from einsearch.bench.figure import check_figure, write_figure
from einsearch.bench.layer import refusals, time_case
from einsearch.bench.machine import Machine
from einsearch.bench.mixture import MixtureCase, time_mixtures
from einsearch.bench.mixture import refusals as mixture_refusals
from einsearch.bench.mixture_rows import MIXTURE_LEGEND, MixtureRow, mixture_plot, mixture_rows, mixture_tables
from einsearch.bench.place import DTYPES, Place
from einsearch.bench.plot import Plot, layer_plot, step_plot
from einsearch.bench.record import check_file, record, write_record
from einsearch.bench.roofline import Roofline, measure_roofline
from einsearch.bench.rows import Row, rows_of
from einsearch.bench.step import Mode, StepCase, time_steps
from einsearch.bench.step_rows import COMPILE_LEGEND, STEP_LEGEND, StepRow, step_rows, step_tables
from einsearch.bench.structures import STRUCTURES, WIDTHS
from einsearch.bench.table import LEGEND, STRUCTURE_LEGEND, footnotes, layer_tables, slower_than_dense, structure_tables
from einsearch.cli.options import DeviceOption, console
from einsearch.errors import EinsearchError
from einsearch.layers.implementations import IMPLEMENTATIONS
from einsearch.layers.moe_implementations import IMPLEMENTATIONS as MIXTURES
from einsearch.proxy.protocol import Protocol
from einsearch.space.parse import parse

_LAYERS, _D, _TOKENS, _MODEL_WIDTHS = ("btt",), (256, 1024), (4096,), (64, 128, 256)
_QUICK_D, _QUICK_TOKENS, _QUICK_MODEL_WIDTHS, _QUICK_ROUNDS = (32, 64), (64,), (16,), 2
_QUICK_PROTOCOL = Protocol(context=16, batch=4)
_ALL = "all"


def bench(
    context: typer.Context,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="A theta, a family or an einsum string; may be given several times; all: a shipped list."),
    ] = None,
    d: Annotated[
        list[int] | None, typer.Option("--d", help="d_in = d_out; may be given several times; default 256, 1024.")
    ] = None,
    tokens: Annotated[
        list[int] | None, typer.Option(help="Input vectors; may be given several times; default 4096.")
    ] = None,
    implementation: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be given several times; default: all that can run.")
    ] = None,
    device: DeviceOption = "auto",
    dtype: Annotated[
        str | None, typer.Option(help=f"{', '.join(DTYPES)}; default: float32 on a CPU, bfloat16 on a GPU.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Of the CPU; trials train on one.")] = 1,
    keep_memory: Annotated[
        bool, typer.Option(help="Freed memory stays with this process, as in trials; else every result is fresh.")
    ] = True,
    repeats: Annotated[int | None, typer.Option(help="Rounds; default: as fit in 10 s, 5 to 50.")] = None,
    experts: Annotated[
        list[int] | None,
        typer.Option(help="Time mixtures of so many experts instead of single layers; may be given several times."),
    ] = None,
    active: Annotated[int | None, typer.Option(help="Experts that each token uses, with --experts; default 2.")] = None,
    step: Annotated[bool, typer.Option(help="Time training steps of the proxy model instead of layers.")] = False,
    width: Annotated[
        list[int] | None,
        typer.Option(help="Of the model, with --step; may be given several times; default 64, 128, 256."),
    ] = None,
    compile: Annotated[bool, typer.Option(help="With --step: also under torch.compile.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes and two rounds, to see that it works.")] = False,
    json: Annotated[Path | None, typer.Option(help="File to write all results to.")] = None,
    figure: Annotated[Path | None, typer.Option(help="File to draw to: .svg, .png or .html.")] = None,
) -> None:
    """Time the implementations of layers beside nn.Linear, or training steps of models beside dense."""
    if context.invoked_subcommand is not None:
        return
    if figure is not None:
        check_figure(figure)
    if json is not None:
        check_file(json, "results")
    if repeats is not None and repeats < 1:
        raise EinsearchError(f"repeats is {repeats}; it must be at least 1")
    if step:
        _refuse({"d": d, "tokens": tokens, "experts": experts}, "is of single layers; with --step give --width")
    else:
        _refuse({"width": width, "compile": compile}, "is of models; give --step too")
    if not experts:
        _refuse({"active": active is not None}, "is of mixtures; give --experts too")
    place = Place.of(device, dtype, threads, keep_memory)
    names = chosen_implementations(implementation or (), MIXTURES if experts else IMPLEMENTATIONS)
    session = _Session(
        out=console(),
        place=place,
        machine=Machine.of(place.device),
        rounds=repeats or (_QUICK_ROUNDS if quick else None),
        quick=quick,
    )
    texts = _texts(layer or _LAYERS)
    with place.settled():
        if step:
            widths = width or (_QUICK_MODEL_WIDTHS if quick else _MODEL_WIDTHS)
            measured = _time_models(session, texts, widths, names if implementation else ("auto",), compile)
        elif experts:
            counts, used = tuple(dict.fromkeys(experts)), 2 if active is None else active
            mixtures = [
                MixtureCase(layer=text, d=one, tokens=count, experts=counts, active=used)
                for text in texts
                for one in dict.fromkeys(d or (_QUICK_D if quick else _D))
                for count in dict.fromkeys(tokens or (_QUICK_TOKENS if quick else _TOKENS))
            ]
            measured = _time_mixtures(session, mixtures, names, forced=bool(implementation))
        else:
            compared = _ALL in (layer or ())
            dimensions = d or (_QUICK_D if quick else WIDTHS if compared else _D)
            chosen = cases(texts, dimensions, tokens or (_QUICK_TOKENS if quick else _TOKENS))
            for case in chosen:
                case.require_memory(place)
            _require_forced(chosen, place, implementation or ())
            measured = _time_layers(session, chosen, names, compared)
    if json is not None:
        command = shlex.join(["einsearch", *sys.argv[1:]])
        document = record(
            measured.rows, machine=session.machine, place=place, command=command, roofline=measured.roofline
        )
        session.out.print(f"Results: {write_record(json, document)}", soft_wrap=True)
    if figure is not None:
        caption = f"{session.machine}. {place}."
        session.out.print(f"Figure: {write_figure(figure, measured.plot, caption)}", soft_wrap=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """What all measurements of one command share. rounds: None is as many as fit."""

    out: Console
    place: Place
    machine: Machine
    rounds: int | None
    quick: bool

    def head(self, *lines: str) -> None:
        for line in (str(self.machine), str(self.place), *lines):
            self.out.print(line)
        if self.machine.busy:
            self.out.print("Other processes run on this machine: the numbers scatter, a quiet one gives better ones.")
        if self.quick:
            self.out.print("Quick: the sizes are too small, and the rounds too few, to say anything about speed.")

    def legend(self, *lines: str) -> None:
        for line in lines:
            self.out.print(line, style="dim")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    rows: Sequence[Row | StepRow | MixtureRow]
    plot: Plot
    roofline: Roofline | None


def _refuse(options: Mapping[str, object], rule: str) -> None:
    for name, value in options.items():
        if value:
            raise EinsearchError(f"--{name} {rule}")


def _texts(layers: Sequence[str]) -> tuple[str, ...]:
    """The layers, with the shipped list for `all`; EinsearchError for text that is none."""
    texts = [text for layer in layers for text in (STRUCTURES if layer == _ALL else (layer,))]
    for text in texts:
        parse(text)
    return tuple(dict.fromkeys(texts))


def _require_forced(chosen: Sequence[Case], place: Place, forced: Sequence[str]) -> None:
    """EinsearchError where an implementation that was asked for cannot run."""
    for case in chosen if forced else ():
        for (layer, way), reason in refusals(case, place, forced).items():
            raise EinsearchError(
                f"implementation {way.implementation} cannot run {layer} at d {case.d}: {reason}; leave it out"
            )


def _time_layers(session: _Session, chosen: Sequence[Case], names: Sequence[str], compared: bool) -> _Measured:
    roofline = measure_roofline(session.place, session.quick)
    session.head(f"Measured here: {roofline}. Layers without bias and weight normalization.")
    rows: list[Row] = []
    for case in chosen:
        result = time_case(case, session.place, names, session.rounds)
        found = list(rows_of([result], roofline, names))
        rows += found
        for table in structure_tables(found) if compared else layer_tables(found):
            session.out.print()
            session.out.print(table)
    session.out.print()
    if compared:
        for line in slower_than_dense(rows):
            session.out.print(line)
    session.legend(*([STRUCTURE_LEGEND] if compared else [LEGEND]), *footnotes(rows))
    return _Measured(rows=rows, plot=layer_plot(rows), roofline=roofline)


def _time_mixtures(session: _Session, chosen: Sequence[MixtureCase], names: Sequence[str], forced: bool) -> _Measured:
    reasons: dict[str, list[str]] = {}
    for case in chosen:
        for name, reason in mixture_refusals(case, session.place, names).items():
            if forced:
                raise EinsearchError(f"implementation {name} cannot run {case.layer}: {reason}; leave it out")
            reasons.setdefault(f"{name}: {reason}", []).append(case.layer)
    session.head("Mixtures of experts without bias, weight normalization and router.")
    rows: list[MixtureRow] = []
    for case in chosen:
        found = list(mixture_rows(case, time_mixtures(case, session.place, names, session.rounds)))
        rows += found
        for table in mixture_tables(found):
            session.out.print()
            session.out.print(table)
    session.out.print()
    left_out = [f"- {reason} ({', '.join(dict.fromkeys(layers))})" for reason, layers in reasons.items()]
    session.legend(MIXTURE_LEGEND, *left_out)
    return _Measured(rows=rows, plot=mixture_plot(rows), roofline=None)


def _time_models(
    session: _Session, layers: tuple[str, ...], widths: Sequence[int], names: tuple[str, ...], compile: bool
) -> _Measured:
    compiled = compile and session.machine.compiler is not None
    modes: tuple[Mode, ...] = ("eager", "compiled") if compiled else ("eager",)
    protocol = _QUICK_PROTOCOL if session.quick else Protocol()
    models = [
        StepCase(layers=layers, width=width, mode=mode, implementations=names, protocol=protocol)
        for width in dict.fromkeys(widths)
        for mode in modes
    ]
    for model in models:
        model.require_valid(session.place)
    session.head(f"Two blocks, {protocol.context} tokens x {protocol.batch} sequences.")
    if compile and not compiled:
        session.out.print("Without torch.compile: there is no C++ compiler here (CXX may name one).")
    rows: list[StepRow] = []
    for model in models:
        found = list(step_rows(model, time_steps(model, session.place, session.rounds)))
        rows += found
        for table in step_tables(found):
            session.out.print()
            session.out.print(table)
    session.out.print()
    session.legend(STEP_LEGEND + (COMPILE_LEGEND if compiled else ""))
    return _Measured(rows=rows, plot=step_plot(rows), roofline=None)
