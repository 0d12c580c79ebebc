"""Tables of structures for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from einsearch.report.ranking import Leader
from einsearch.report.study_data import StudyData
from einsearch.search.config import write_flops


def leader_table(leaders: Sequence[Leader], data: StudyData | None = None) -> Table:
    """The ranked structures; with `data`, titled with the study's name."""
    title = f"Study {data.study.name}: structures by compute multiplier against dense" if data else None
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in ("#", "structure", "theta"):
        table.add_column(name, justify="right" if name == "#" else "left", no_wrap=name != "theta")
    for name in ("ω", "ψ", "ν", "width", "params", "loss", "at FLOPs", "multiplier", "tokens/s", "seeds", "key"):
        table.add_column(name, justify="right", no_wrap=True)
    for leader in leaders:
        speed = f"{leader.tokens_per_second:,.0f}" if leader.tokens_per_second else "-"
        table.add_row(
            str(leader.rank),
            leader.label,
            leader.theta,
            *(f"{value:.2f}" for value in (leader.omega, leader.psi, leader.nu)),
            str(leader.width),
            f"{leader.parameters:,}",
            f"{leader.loss:.4f}",
            write_flops(leader.flops),
            f"{leader.multiplier}x",
            speed,
            str(leader.seeds),
            leader.key[:8],
        )
    return table
