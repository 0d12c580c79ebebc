"""Tables of structures for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from einsearch.report.ranking import DenseReference, Leader
from einsearch.search.config import write_flops


def leader_table(leaders: Sequence[Leader], *, title: str | None = None, dense: DenseReference | None = None) -> Table:
    """The ranked structures, by compute multiplier against dense; `dense` adds dense at the leader's FLOPs."""
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
            f"{leader.multiplier}x" if leader.multiplier else "-",
            speed,
            str(leader.seeds),
            leader.key[:8],
        )
    if dense is not None:
        table.add_row(
            "",
            "Dense frontier",
            "dense",
            "0.00",
            "1.00",
            "1.00",
            str(dense.width),
            f"{dense.parameters:,}",
            "-" if dense.loss is None else f"{dense.loss:.4f}",
            write_flops(dense.flops),
            "1x",
            f"{dense.tokens_per_second:,.0f}" if dense.tokens_per_second else "-",
            "",
            "",
            style="dim",
        )
    return table
