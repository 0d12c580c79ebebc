"""The report as one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from einsearch.files import replace_file
from einsearch.report import text
from einsearch.report.budget_figure import budget_figure
from einsearch.report.facts import study_facts
from einsearch.report.leader_figures import multiplier_figure, taxonomy_figure
from einsearch.report.loss_figure import loss_figure
from einsearch.report.study_data import StudyData
from einsearch.report.summary import Summary, summarize
from einsearch.report.usage import usage_of
from einsearch.space.candidate import Candidate
from einsearch.store import StudyRow

_LISTED = 50
"""Candidates in the table; a page of a thousand rows answers nothing."""

_DOTS = 20
"""Candidates in the dot plot."""


@dataclass(frozen=True, slots=True)
class _Figure:
    """A figure in the page: what a reader sees, hears, and is told."""

    plot: Markup
    alt: str
    caption: str


def write_html(data: StudyData, path: Path) -> Path:
    """Write the report of a study and return its path; an older report there is replaced whole or not at all.

    The same data give the same bytes. Raises EinsearchError where the file cannot be written.
    """
    return replace_file(path, render_html(data), "report")


def render_html(data: StudyData) -> str:
    """The page as text."""
    summary = summarize(data)
    environment = Environment(loader=PackageLoader("einsearch.report", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {
        "count": text.count_text,
        "flops": text.flops_text,
        "percent": text.percent_text,
        "short": lambda value: f"{value:.3g}",
        "speed": text.speed_text,
    }
    numbers = {curve.trial.id: curve.trial.number for curve in data.curves}
    return environment.get_template("report.html.jinja").render(
        study=data.study,
        summary=summary,
        leaders=summary.leaders[:_LISTED],
        unlisted=max(len(summary.leaders) - _LISTED, 0),
        facts=study_facts(data, summary),
        figures=list(_figures(data, summary)),
        reused=sum(curve.trial.reused_from is not None for curve in data.curves),
        failed=[curve.trial for curve in data.curves if curve.trial.state == "failed"],
        lost=[(numbers[s.trial_id], s) for s in data.segments if s.state == "lost"],
        usage=_usage(data, summary),
        commands=_commands(data.study),
        settings=_settings(data.study),
        plotly_js=Markup(get_plotlyjs()),
    )


def _figures(data: StudyData, summary: Summary) -> Iterator[_Figure]:
    leaders = summary.leaders
    yield _Figure(
        _embed(loss_figure(data, leaders), "figure-loss"),
        "Validation loss against training FLOPs, both logarithmic, one line a trial. " + summary.finding,
        "Validation loss against training FLOPs. Thick black: the dense frontier that multipliers are read off. "
        "Below it a candidate needs less compute than dense. Grey lines: the other candidates.",
    )
    yield _Figure(
        _embed(multiplier_figure(leaders[:_DOTS]), "figure-multipliers"),
        "Compute multipliers by rank: "
        + "; ".join(f"{x.rank}. {x.label} width {x.width}: {x.multiplier or 'no dense run'}" for x in leaders[:5]),
        "Compute multiplier in the order of rank; right of the line at 1 a candidate needs less compute than dense. "
        "Multipliers of a low rung come from short runs and are the least certain.",
    )
    yield _Figure(
        _embed(taxonomy_figure(leaders), "figure-taxonomy"),
        f"The {len(leaders)} ranked candidates by compute intensity ν and rank exponent ψ, coloured by multiplier.",
        "Where the ranked candidates lie in the space. Larger marks completed a higher rung; candidates at one place, "
        "as of several widths, are spread around it.",
    )
    yield _Figure(
        _embed(budget_figure(summary.budget), "figure-budget"),
        "Budget use: "
        + ", ".join(f"{p.name} {text.percent_text(p.flops / data.study.budget)}" for p in summary.budget),
        "Where the budget went.",
    )


def _embed(figure: go.Figure, name: str) -> Markup:
    return Markup(
        plotly.io.to_html(
            figure,
            include_plotlyjs=False,
            full_html=False,
            div_id=name,
            config={"responsive": True, "displaylogo": False, "displayModeBar": False},
        )
    )


def _usage(data: StudyData, summary: Summary) -> str:
    """Python that puts the best candidate into a user's model; empty where there is none."""
    if not summary.leaders:
        return ""
    best = next(curve.trial for curve in data.curves if curve.trial.key == summary.leaders[0].key)
    return usage_of(Candidate.from_json(best.candidate))


def _commands(study: StudyRow) -> str:
    """The command lines that repeat a study as it was asked for, a raised budget included."""
    config = study.config
    begun_with = config.get("budget", study.budget)
    options = {"--study": study.name, "--space": config.get("space"), "--budget": text.exact_flops(begun_with)}
    options |= {f"--{name}": config.get(name) for name in ("seed", "sampler", "data")}
    words = ["einsearch", "run"]
    for option, value in options.items():
        if value is not None:
            words += [option, str(value)]
    lines = [shlex.join(words)]
    if study.budget != begun_with:
        lines.append(shlex.join(["einsearch", "resume", study.name, "--budget", text.exact_flops(study.budget)]))
    return "\n".join(lines)


def _settings(study: StudyRow) -> list[tuple[str, list[tuple[str, str]]]]:
    """All that decided the results, as tables of fields and values."""
    protocol = dict(study.protocol)
    training = protocol.pop("protocol", {})
    return [
        ("Training protocol", _rows(training)),
        (f"Where it ran (protocol {study.protocol_id})", _rows(protocol)),
        ("What was asked", _rows(study.config)),
    ]


def _rows(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += _rows(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return rows
