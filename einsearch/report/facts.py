"""A study in a few figures."""

from __future__ import annotations

from einsearch.report.study_data import StudyData
from einsearch.report.summary import Summary
from einsearch.report.text import duration_text, flops_text, percent_text


def study_facts(data: StudyData, summary: Summary) -> list[tuple[str, str]]:
    """Names and values: how far the study is, and what it has used."""
    study = data.study
    ladder = sum(curve.trial.kind == "ladder" for curve in data.curves)
    facts = [
        ("state", study.state),
        ("begun", f"{study.created_at:%Y-%m-%d %H:%M} UTC"),
        ("candidates", f"{len(data.curves) - ladder} begun, {len(summary.leaders)} ranked"),
        ("dense runs", str(ladder)),
        ("budget", f"{flops_text(study.budget)} FLOPs"),
        ("spent", percent_text(study.spent / study.budget)),
        ("lost", percent_text(study.lost / study.budget)),
        ("unused", percent_text(study.free / study.budget)),
    ]
    if study.seconds:  # 0 until a driver stops
        facts.append(("wall-clock", duration_text(study.seconds)))
    return facts
