"""`einsearch space FILE`: what a search space holds."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from einsearch.cli.options import JsonOption, console, print_json
from einsearch.errors import EinsearchError
from einsearch.space.candidate import Candidate
from einsearch.space.classify import Family, classify
from einsearch.space.draws import Drawer, Survey, require_valid
from einsearch.space.search_space import SearchSpace, costs_of
from einsearch.space.space_file import load_space
from einsearch.space.taxonomy import taxonomy

_WIDTHS = (64, 96)
_SURVEYED = 200
"""Valid candidates drawn for the fractions and the count of families."""


def space(
    name: Annotated[str, typer.Argument(help="A shipped space's name or the path of a .yaml file.")] = "two-factor",
    samples: Annotated[int, typer.Option(help="How many valid candidates to show.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the random candidates.")] = 0,
    json: JsonOption = False,
) -> None:
    """Describe a search space: its parameters, what part of it is valid, samples."""
    if samples < 0 or seed < 0:
        raise EinsearchError(f"samples {samples} and seed {seed} may not be negative; give 0 or more")
    found = load_space(name)
    planned = not found.widths
    if planned:
        found = found.with_widths(_WIDTHS)
    require_valid(found)
    drawer = Drawer(found, np.random.default_rng(seed))
    drawn = []
    for _, candidate in drawer.valid():
        drawn.append(candidate.canonical())
        if len(drawn) == _SURVEYED:
            break
    known = [candidate for _, candidate in found.known_first()]
    if json:
        print_json(_as_json(found, drawer.survey, drawn, known, samples))
        return
    out = console()
    out.print(f"[bold]{found.name}[/]: {found.description}" if found.description else f"[bold]{found.name}[/]")
    for line in _facts(found, drawer.survey, planned):
        out.print(line, soft_wrap=True)
    out.print()
    out.print(_families_table(drawn, known))
    if samples and drawn:
        out.print()
        out.print(_samples_table(drawn[:samples]))


def _facts(found: SearchSpace, survey: Survey, planned: bool) -> list[str]:
    if found.continuous:
        most = "" if found.max_indices is None else f" with at most {found.max_indices} indices"
        zero = f", {', '.join(found.zero)} = 0" if found.zero else ""
        what = f"every einsum of {found.factors} factor{'s' * (found.factors > 1)}{most}{zero}"
    else:
        what = f"{len(found.structures)} listed structures"
    searched = {"same": "one structure for all layers"}.get(
        found.sites, f"one structure for each of {' '.join(found.searched)}"
    )
    lines = [f"structures   {what}", f"sites        {searched}"]
    lines += [f"fixed        {site}: {einsum}" for site, einsum in found.fixed]
    lines += [f"mixture      {found.mixture}"] if found.mixture is not None else []
    lines += [f"condition    {text}" for text in found.where]
    floats = len(found.searched) * len(found.coordinates) if found.continuous else 0
    choices = len(found.parameters()) - floats
    lines.append(f"dimensions   {floats} coordinates in [0, 1], {choices} choice{'s' * (choices > 1)}")
    widths = ", ".join(str(width) for width in found.widths)
    lines.append(f"widths       {widths}" + (" (here; a study plans them from its budget)" if planned else ""))
    count = found.count()
    if count is not None:
        lines.append(f"candidates   {count:,}")
    else:
        per_site = f"{survey.structure_fraction:.2%} of {survey.points:,} random structures"
        lines.append(
            f"valid        {per_site} pass; of {survey.candidates:,} candidates made of these, "
            f"{survey.candidate_fraction:.1%} may be trained"
        )
    if survey.reasons:
        lines.append(f"refused      as {survey.reasons[0]}")
    return lines


def _families(candidates: list[Candidate]) -> dict[Family, int]:
    counts = dict.fromkeys(Family, 0)
    for candidate in candidates:
        for family in {classify(einsum).family for einsum in candidate.einsums}:
            counts[family] += 1
    return {family: count for family, count in counts.items() if count}


def _families_table(drawn: list[Candidate], known: list[Candidate]) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("family")
    table.add_column("random candidates", justify="right")
    table.add_column("tried first", justify="right")
    random, first = _families(drawn), _families(known)
    for family in Family:
        if family in random or family in first:
            share = f"{random.get(family, 0) / len(drawn):.1%}" if drawn else "-"
            table.add_row(family.value, share, str(first.get(family, 0)))
    return table


def _samples_table(candidates: list[Candidate]) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in ("width", "ω", "ψ", "ν", "params", "of dense", "FLOPs of dense", "structure", "theta"):
        table.add_column(column, justify="left" if column in ("structure", "theta") else "right", overflow="fold")
    for candidate in candidates:
        costs = costs_of(candidate)
        points = [taxonomy(einsum) for einsum in candidate.by_site.values()]
        table.add_row(
            str(candidate.shape.width),
            *(_range([float(getattr(point, name)) for point in points]) for name in ("omega", "psi", "nu")),
            f"{costs['params']:,}",
            f"{costs['params'] / costs['dense_params']:.2f}",
            f"{costs['flops'] / costs['dense_flops']:.2f}",
            candidate.label,
            candidate.theta,
        )
    return table


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.2f}" if high - low < 0.005 else f"{low:.2f}-{high:.2f}"


def _as_json(
    found: SearchSpace, survey: Survey, drawn: list[Candidate], known: list[Candidate], samples: int
) -> dict[str, Any]:
    return {
        "space": found.to_json(),
        "coordinates": len(found.searched) * len(found.coordinates) if found.continuous else 0,
        "candidates": found.count(),
        "structures_tried": survey.points,
        "structures_passing": survey.passed,
        "candidates_tried": survey.candidates,
        "candidates_valid": survey.valid,
        "families": {family.value: count for family, count in _families(drawn).items()},
        "tried_first": [candidate.to_json() for candidate in known],
        "samples": [candidate.to_json() | {"costs": costs_of(candidate)} for candidate in drawn[:samples]],
    }
