"""The atlas as one HTML file that needs nothing else: three linked views, filters, a table of the structures.

The page holds the samples as columns of whole numbers and draws them itself; what stays the same whatever is
filtered (axes, the reachable region, the named families) comes from here as Plotly figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from einsearch.draw.atlas import DEAREST, SAMPLES, UNIT, Atlas, Landmark, landmarks, sample_atlas
from einsearch.draw.plotly_style import FAINT, INK, MUTED, figure
from einsearch.errors import EinsearchError
from einsearch.files import replace_file
from einsearch.space.classify import Family, families_of
from einsearch.space.closed_forms import closed_forms
from einsearch.space.contained import contained_families
from einsearch.space.einsum import write_number
from einsearch.space.structure import Structure
from einsearch.space.taxonomy import taxonomy

Place = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """How the samples of a family are drawn, in two dimensions and in three; told apart by the shape alone."""

    name: str
    symbol: str
    colour: str


MARKS = {
    Family.LOW_RANK: Mark("Low rank", "square", "#E69F00"),
    Family.KRONECKER: Mark("Kronecker", "square-open", "#D55E00"),
    Family.TENSOR_TRAIN: Mark("Tensor-Train", "cross", "#B0558A"),
    Family.MONARCH: Mark("BTT rank 1", "diamond", "#0072B2"),
    Family.BTT: Mark("BTT", "diamond-open", "#3B8FC4"),
    Family.GENERIC: Mark("Generic", "circle", "#9AA3AF"),
}
"""Okabe and Ito's colours, two of them darkened for a white page."""

EDGE = "#009E73"
"""Full rank without sharing."""

FULL_RANK = "#D55E00"
"""The face psi = 1."""

LANDMARK_MARKS = {
    "Dense": Mark("Dense", "circle", INK),
    "Monarch": MARKS[Family.MONARCH],
    "Kronecker": MARKS[Family.KRONECKER],
    "Low rank": MARKS[Family.LOW_RANK],
    "Tensor-Train": MARKS[Family.TENSOR_TRAIN],
    "BTT": Mark("BTT", "diamond-open", EDGE),
}
"""BTT's curve is the edge of full rank without sharing."""

_ASIDE3D = {
    "Dense": (0, -26),
    "Monarch": (-10, 34),
    "Kronecker": (25, 40),
    "Low rank": (60, -34),
    "Tensor-Train": (20, -60),
}

_OMEGA, _PSI, _NU = "ω, parameter sharing", "ψ, rank (1: full)", "ν, compute intensity (1: as dense)"
_HEIGHT = 400

_MARGIN = 0.25
"""Room for names right of nu = 1."""

_SUFFIXES = (".html", ".htm")


def write_atlas(path: Path, samples: int = SAMPLES, seed: int = 0) -> Path:
    """Write the page and return its path; one already there is replaced whole or not at all.

    The same arguments give the same bytes. Raises EinsearchError where the path is no HTML file or cannot be
    written, or where `samples` or `seed` is out of range.
    """
    if path.suffix.lower() not in _SUFFIXES:
        shown = f"has the suffix {path.suffix!r}" if path.suffix else "has no suffix"
        raise EinsearchError(f"atlas {path} {shown}; write FILE.html")
    return replace_file(path, render_atlas(sample_atlas(samples, seed)), "atlas")


def render_atlas(atlas: Atlas) -> str:
    """The page as text."""
    environment = Environment(loader=PackageLoader("einsearch.draw", "."), autoescape=True, undefined=StrictUndefined)
    data = atlas_data(atlas)
    return environment.get_template("atlas.html.jinja").render(
        data=Markup(json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")),
        edge=EDGE,
        marks=[(mark, sum(s["family"] == n for s in data["structures"])) for n, mark in enumerate(MARKS.values())],
        holdable=[(n, family.value) for n, family in enumerate(MARKS) if family is not Family.GENERIC],
        structures=data["structures"],
        samples=len(atlas.samples),
        unit=UNIT,
        dearest=DEAREST,
        plotly_js=Markup(get_plotlyjs()),
    )


def atlas_data(atlas: Atlas) -> dict[str, Any]:
    """What the scripts of the page read: samples as columns, in units of 1/unit, and the fixed parts of the figures."""
    families = list(MARKS)
    highest = max(DEAREST, *(max(s.theta) for s in atlas.samples))
    rows = []
    for structure in atlas.structures:
        forms = closed_forms(structure).texts()
        rows.append(
            {
                "einsum": str(structure),
                "family": next(n for n, family in enumerate(MARKS) if family is next(families_of(structure)).kind),
                "holds": [families.index(family) for family in contained_families(structure)],
                "special": special_cases(structure, atlas.structures),
                **{name: forms[name] for name in ("omega", "psi", "nu")},
            }
        )
    return {
        "unit": UNIT,
        "nu_limit": DEAREST / UNIT,
        "margin": _MARGIN,
        "text": [write_number(Fraction(n, UNIT)) for n in range(highest + 1)],
        "marks": [asdict(mark) for mark in MARKS.values()],
        "structures": rows,
        "samples": {
            "structure": [s.structure for s in atlas.samples],
            "theta": [n for s in atlas.samples for n in s.theta],
            **{name: [getattr(s, name) for s in atlas.samples] for name in ("omega", "psi", "nu")},
        },
        "figures": {
            "space": _json(_space_figure()),
            "unshared": _json(_unshared_figure()),
            "full": _json(_full_rank_figure()),
        },
    }


def special_cases(structure: Structure, among: Sequence[Structure]) -> list[int]:
    """The numbers of the structures that it becomes with some indices at size 1, itself included."""
    own = set(structure.indices)
    return [
        n
        for n, other in enumerate(among)
        if any(own.issuperset(other.renamed(naming).indices) for naming in ((0, 1), (1, 0)))
    ]


def _json(plot: go.Figure) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(plot.to_json())
    for name in ("template", "height"):  # the page's style says how high
        plain["layout"].pop(name, None)
    return plain


def _places(landmark: Landmark) -> list[Place]:
    """omega, psi and nu along a landmark."""
    return [(float(t.omega), float(t.psi), float(t.nu)) for t in map(taxonomy, landmark.einsums)]


def _space_figure() -> go.Figure:
    """The tetrahedron with its two faces, the edge between them, and the families."""
    plot = figure(_HEIGHT, margin={"l": 0, "r": 0, "t": 0, "b": 0}, showlegend=False)
    axis = {"gridcolor": "#e6e9ed", "zeroline": False, "showspikes": False, "tickfont": {"size": 11}}
    plot.update_layout(
        scene={
            "xaxis": {"title": {"text": "ω sharing"}, "range": [-0.02, 0.52], "tickvals": [0, 0.5], **axis},
            "yaxis": {"title": {"text": "ψ rank"}, "range": [-0.03, 1.03], "tickvals": [0, 1], **axis},
            "zaxis": {"title": {"text": "ν compute"}, "range": [-0.03, 1.03], "dtick": 0.5, **axis},
            "dragmode": "turntable",
            "aspectmode": "manual",
            "aspectratio": {"x": 0.82, "y": 1.06, "z": 1.42},
            "camera": {
                "eye": {"x": -1.3, "y": 1.15, "z": 0.5},
                "center": {"x": 0.05, "y": 0.05, "z": -0.04},
                "projection": {"type": "orthographic"},
            },
        }
    )
    _face(plot, [(0, 0, 0), (0, 1, 0.5), (0, 1, 1)], EDGE)
    _face(plot, [(0, 1, 0.5), (0.5, 1, 0.5), (0.5, 1, 1), (0, 1, 1)], FULL_RANK)
    around = [(0, 0, 0), (0, 1, 0.5), (0.5, 1, 0.5), (0, 0, 0), (0, 1, 1), (0.5, 1, 1), (0.5, 1, 0.5), (0, 1, 1)]
    _line3d(plot, around, {"color": MUTED, "width": 1.5})
    notes = []
    for landmark in landmarks():
        mark, places = LANDMARK_MARKS[landmark.name], _places(landmark)
        if landmark.name == "BTT":
            _line3d(plot, places, {"color": EDGE, "width": 14})
            notes.append(_note3d(places[len(places) * 2 // 3], "full rank,<br>no sharing: BTT", (85, -92), EDGE))
            continue
        if len(places) > 1:
            _line3d(plot, places, {"color": mark.colour, "width": 7})
        else:
            x, y, z = places[0]
            plot.add_scatter3d(
                x=[x], y=[y], z=[z], mode="markers", marker=_big(mark, 10), hoverinfo="skip", meta="over"
            )
        notes.append(_note3d(places[len(places) // 2], landmark.name, _ASIDE3D[landmark.name], INK))
    plot.update_layout(scene_annotations=notes)
    return plot


def _face(plot: go.Figure, corners: Sequence[Place], colour: str) -> None:
    x, y, z = zip(*corners, strict=True)
    fan = range(1, len(corners) - 1)
    plot.add_mesh3d(
        x=x, y=y, z=z, i=[0 for _ in fan], j=list(fan), k=[n + 1 for n in fan],
        color=colour, opacity=0.1, hoverinfo="skip", flatshading=True,
    )  # fmt: skip


def _note3d(place: Place, text: str, aside: tuple[int, int], colour: str) -> dict[str, Any]:
    """A name with a line to its place, so many pixels aside."""
    return {
        **dict(zip("xyz", place, strict=True)), "text": f"<b>{text}</b>", "ax": aside[0], "ay": aside[1],
        "font": {"size": 13, "color": colour}, "bgcolor": "rgba(255, 255, 255, 0.85)", "borderpad": 1,
        "arrowcolor": colour, "arrowwidth": 1, "arrowhead": 0,
    }  # fmt: skip


def _line3d(plot: go.Figure, places: Sequence[Sequence[float | None]], line: dict[str, Any]) -> None:
    x, y, z = zip(*places, strict=True)
    plot.add_scatter3d(x=x, y=y, z=z, mode="lines", line=line, hoverinfo="skip")


def _unshared_figure() -> go.Figure:
    """omega = 0: rank against compute."""
    plot = _plane(_PSI, [-0.04, 1.2], (0, 0.25, 0.5, 0.75, 1))
    _region(plot, [(0, 0), (0.5, 1), (1, 1)], EDGE)
    _edge(plot, 1)
    _note(plot, 0.75, 1, "<b>full rank, no sharing: BTT</b>", yshift=22, font={"size": 13, "color": EDGE})
    _note(plot, 0, 0.86, "out of reach:<br>ψ ≤ 2ν", xanchor="left", align="left")
    _note(plot, 1.04, 0.3, "out of reach:<br>ψ ≥ ν<br>without sharing", xanchor="right", align="right")
    beside = {"Monarch": {"xshift": -45}, "Dense": {"xshift": 34}, "Low rank": {"xshift": 42, "yshift": -12}}
    for landmark in landmarks():
        _landmark(plot, landmark, [(nu, psi) for omega, psi, nu in _places(landmark) if omega == 0], beside)
    return plot


def _full_rank_figure() -> go.Figure:
    """psi = 1: sharing against compute."""
    plot = _plane(_OMEGA, [-0.11, 0.58], (0, 0.125, 0.25, 0.375, 0.5))
    _region(plot, [(0.5, 0), (0.5, 0.5), (1, 0.5), (1, 0)], FULL_RANK)
    _edge(plot, 0)
    _note(plot, 0.75, 0, "<b>full rank, no sharing: BTT</b>", yshift=-22, font={"size": 13, "color": EDGE})
    _note(plot, 0, 0.25, "out of reach:<br>ν ≥ 1/2<br>at full rank", xanchor="left", align="left")
    beside = {
        "Monarch": {"xshift": -45},
        "Dense": {"xshift": 34},
        "Kronecker": {"xshift": -46},
        "Tensor-Train": {"yshift": 16},
    }
    for landmark in landmarks():
        _landmark(plot, landmark, [(nu, omega) for omega, psi, nu in _places(landmark) if psi == 1], beside)
    return plot


def _plane(title: str, limits: list[float], ticks: tuple[float, ...]) -> go.Figure:
    plot = figure(_HEIGHT, showlegend=False, margin={"l": 22, "r": 12, "t": 8, "b": 8})
    plot.update_xaxes(range=[-0.04, 1 + _MARGIN], title_text=_NU, dtick=0.25)
    plot.update_yaxes(range=limits, title_text=title, tickvals=ticks)
    return plot


def _region(plot: go.Figure, corners: list[tuple[float, float]], colour: str) -> None:
    """What exponents reach, nu <= 1."""
    x, y = zip(*corners, corners[0], strict=True)
    plot.add_scatter(
        x=x, y=y, mode="lines", fill="toself", fillcolor=_faded(colour, 0.07), line={"color": FAINT, "width": 1},
        hoverinfo="skip",
    )  # fmt: skip


def _edge(plot: go.Figure, y: float) -> None:
    plot.add_scatter(
        x=[0.5, 1], y=[y, y], mode="lines", line={"color": _faded(EDGE, 0.45), "width": 22}, hoverinfo="skip"
    )


def _landmark(
    plot: go.Figure, landmark: Landmark, places: list[tuple[float, float]], beside: Mapping[str, Mapping[str, int]]
) -> None:
    """A family's big mark or its curve, and its name so many pixels beside it."""
    if landmark.name not in beside:
        return
    mark = LANDMARK_MARKS[landmark.name]
    x, y = zip(*places, strict=True)
    if len(places) > 1:
        plot.add_scatter(x=x, y=y, mode="lines", line={"color": mark.colour, "width": 4}, hoverinfo="skip")
    else:
        plot.add_scatter(x=x, y=y, mode="markers", marker=_big(mark, 15), meta="over", hoverinfo="skip")
    n, font = len(places) // 2, {"size": 12, "color": INK}
    _note(plot, x[n], y[n], f"<b>{landmark.name}</b>", font=font, **beside[landmark.name])


def _big(mark: Mark, size: int) -> dict[str, Any]:
    return {"symbol": mark.symbol, "size": size, "color": mark.colour, "line": {"color": mark.colour, "width": 2}}


def _note(plot: go.Figure, x: float, y: float, text: str, **place: Any) -> None:
    style = {"showarrow": False, "font": {"size": 12, "color": MUTED}, "borderpad": 1}
    plot.add_annotation(x=x, y=y, text=text, bgcolor="rgba(255, 255, 255, 0.8)", **(style | place))


def _faded(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha})"
