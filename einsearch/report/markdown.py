"""A study as a short Markdown text and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from einsearch.report.ranking import DenseReference, Leader, trial_records
from einsearch.report.rungs import study_rungs
from einsearch.report.study_data import StudyData
from einsearch.report.summary import summarize
from einsearch.report.text import count_text, flops_text, speed_text

_ROWS = 10
_COLUMNS = (
    "rank", "structure", "θ", "ω", "ψ", "ν", "width", "parameters", "FLOPs", "validation loss",
    "compute multiplier", "tokens/s", "seeds", "key",
)  # fmt: skip


def write_markdown(data: StudyData) -> str:
    """The finding and a table of the ten best with dense at the best one's compute."""
    summary = summarize(data)
    lines = [f"# {data.study.name}", "", plain(summary.finding)]
    if summary.leaders:
        rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_row, summary.leaders[:_ROWS])]
        if summary.dense:
            rows.append(_dense_row(summary.dense))
        lines += ["", *("| " + " | ".join(map(cell, row)) + " |" for row in rows)]
    return "\n".join(lines) + "\n"


def to_json(data: StudyData) -> dict[str, Any]:
    """The whole report as JSON values; FLOPs are integers, losses nats a token, times seconds or ISO 8601."""
    summary, study = summarize(data), data.study
    return {
        "study": study.name,
        "state": study.state,
        "simulated": study.simulated,
        "created_at": study.created_at.isoformat(),
        "seconds": study.seconds,
        "finding": summary.finding,
        "leaders": [_leader(leader) for leader in summary.leaders],
        "dense": asdict(summary.dense) if summary.dense else None,
        "frontier": [
            {"flops": flops, "loss": loss}
            for flops, loss in zip(data.frontier.flops, data.frontier.losses, strict=True)
        ],
        "rungs": list(study_rungs(data)),
        "budget": {"total": study.budget, "parts": {part.name: part.flops for part in summary.budget}},
        "trials": [
            record | {"points": [asdict(point) for point in curve.points]}
            for record, curve in zip(trial_records(data), data.curves, strict=True)
        ],
        "config": study.config,
        "protocol": study.protocol,
        "protocol_id": study.protocol_id,
    }


def _leader(leader: Leader) -> dict[str, Any]:
    multiplier = leader.multiplier
    return asdict(leader) | {
        "multiplier": multiplier.value if multiplier else None,
        "multiplier_bound": multiplier.bound.name.lower() if multiplier else None,
    }


def _row(leader: Leader) -> tuple[str, ...]:
    return (
        str(leader.rank),
        leader.label,
        leader.theta,
        *(f"{value:g}" for value in (leader.omega, leader.psi, leader.nu)),
        str(leader.width),
        count_text(leader.parameters),
        flops_text(leader.flops),
        f"{leader.loss:.4f}",
        "no dense run" if leader.multiplier is None else str(leader.multiplier),
        speed_text(leader.tokens_per_second),
        str(leader.seeds),
        leader.key,
    )


def _dense_row(dense: DenseReference) -> tuple[str, ...]:
    return (
        "", "Dense, same FLOPs", "dense", "0", "1", "1", str(dense.width), count_text(dense.parameters),
        flops_text(dense.flops), "outside the ladder" if dense.loss is None else f"{dense.loss:.4f}",
        "1", speed_text(dense.tokens_per_second), "", "",
    )  # fmt: skip


def cell(text: str) -> str:
    """Text as it may stand in a cell of a Markdown table."""
    return plain(text).replace("|", "\\|")


def plain(text: str) -> str:
    """Text on one line, without the characters that Markdown and the HTML in it would act upon."""
    for character in "\\`*_<>[]":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
