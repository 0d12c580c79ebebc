"""What a figure says of the mark under the pointer."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from einsearch.frontier import Multiplier
from einsearch.report.ranking import Leader
from einsearch.report.study_data import StudyData
from einsearch.report.text import flops_text
from einsearch.store import Curve


def point_hover(data: StudyData, curve: Curve, flops: int, loss: float) -> str:
    trial = curve.trial
    multiplier = None if data.frontier.empty else data.frontier.multiplier(flops, loss)
    return _hover(
        f"trial {trial.number}, seed {trial.seed}: {trial.label}", trial.facts["theta"], trial.facts["width"],
        trial.facts["taxonomy"], flops, loss, multiplier,
    )  # fmt: skip


def leader_hover(leader: Leader) -> str:
    taxonomy = {"omega": leader.omega, "psi": leader.psi, "nu": leader.nu}
    return _hover(
        f"{leader.rank}. {leader.label}", leader.theta, leader.width, taxonomy, leader.flops, leader.loss,
        leader.multiplier,
    )  # fmt: skip


def _hover(
    title: str,
    theta: str,
    width: int,
    taxonomy: Mapping[str, float],
    flops: int,
    loss: float,
    multiplier: Multiplier | None,
) -> str:
    lines = [
        f"<b>{escape(title)}</b>",
        escape(theta),
        f"width {width}",
        "ω {omega:g}, ψ {psi:g}, ν {nu:g}".format(**taxonomy),
        f"loss {loss:.4f} at {flops_text(flops)} FLOPs",
    ]
    if multiplier:
        lines.append(f"multiplier {multiplier}")
    return "<br>".join(lines)
